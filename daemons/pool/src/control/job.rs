//! The answers to `current_job` and `coinbase`.

use super::{Control, count, link, timestamp};
use crate::links::{Link, LinkState};
use crate::work::{TemplateWork, Work};
use hh_daemon::Chain;
use hh_ipc::api::LinkStatus;
use hh_ipc::api::pool::{
    CoinbaseDetail, CoinbaseOutput, CurrentJob, ExtranonceLayout, FutureTemplate, JobChannels,
    ScriptSigPart,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_mining::extranonce::{EXTRANONCE_SIZE, PREFIX_SIZE, ROLLABLE_SIZE, SERVER_ID_SIZE};
use hh_mining::{Coinbase, JobError, ScriptKind, coinbase};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Control {
    pub(super) fn current_job(&self) -> Result<CurrentJob, ApiError> {
        let work = self.newest_work()?;
        let (job, tip) = (&work.job, &work.tip.tip);
        let template = &job.template;
        let value = coinbase::template_value(&template.template);
        let (template_provider, template_connection_up) = self.provider_of(template);
        let (jobs, channels_behind) = self.channels_by_job(&work);
        let coinbase_only = job.job.merkle_path().is_empty();
        let transactions = match template.transactions() {
            _ if coinbase_only => Some(0),
            sent => sent.map(|list| count(list.len())),
        };
        let future = self.future_templates.borrow().clone();
        Ok(CurrentJob {
            job_id: job.id,
            template_id: template.template.template_id,
            template_provider,
            template_connection_up,
            received_at: timestamp(self.received_ms(template)),
            height: template.height,
            prev_hash: hh_mining::BlockHash::from_byte_array(tip.prev_hash).to_string(),
            nbits: format!("{:08x}", tip.nbits),
            network_difficulty: tip.target.difficulty(),
            min_ntime: tip.header_timestamp,
            version: format!("{:08x}", job.job.version()),
            transactions,
            coinbase_only,
            value_sat: value.map_err(|error| no_coinbase(&error))?.to_sat(),
            merkle_path_length: count(job.job.merkle_path().len()),
            jobs,
            channels_behind,
            future_templates: future.iter().map(|work| self.future(work)).collect(),
        })
    }

    pub(super) fn coinbase(&self) -> Result<CoinbaseDetail, ApiError> {
        let work = self.newest_work()?;
        let (job, template) = (&work.job.job, &work.job.template);
        let coinbase = Coinbase::parse(job).map_err(|error| no_coinbase(&error))?;
        let value = coinbase::template_value(&template.template);
        let prefix = job.coinbase_tx_prefix();
        let outputs = coinbase.outputs.iter().enumerate();
        Ok(CoinbaseDetail {
            job_id: work.job.id,
            template_id: template.template.template_id,
            height: template.height,
            prefix_hex: hex::encode(prefix),
            suffix_hex: hex::encode(job.coinbase_tx_suffix()),
            extranonce: ExtranonceLayout {
                offset_bytes: count(prefix.len()),
                size_bytes: count(EXTRANONCE_SIZE),
                server_id: self.server_id,
                server_id_bytes: count(SERVER_ID_SIZE),
                channel_bytes: count(PREFIX_SIZE - SERVER_ID_SIZE),
                miner_bytes: count(ROLLABLE_SIZE),
            },
            script_sig: coinbase.script_sig.iter().map(part).collect(),
            script_sig_bytes: count(coinbase.script_sig_size),
            version: coinbase.version,
            sequence: coinbase.sequence,
            locktime: coinbase.locktime,
            value_sat: coinbase.value.to_sat(),
            template_value_sat: value.map_err(|error| no_coinbase(&error))?.to_sat(),
            weight_wu: coinbase.weight.to_wu(),
            outputs: outputs
                .map(|(index, output)| CoinbaseOutput {
                    value_sat: output.value.to_sat(),
                    kind: ScriptKind::of(&output.script_pubkey).name().to_owned(),
                    address: coinbase::address(&output.script_pubkey, self.chain),
                    script_hex: hex::encode(output.script_pubkey.as_bytes()),
                    of_pool: index == 0,
                })
                .collect(),
        })
    }

    fn newest_work(&self) -> Result<Arc<Work>, ApiError> {
        let work = self.shared.work.borrow().clone();
        work.ok_or_else(|| {
            let why = self.providers.why_nothing_comes();
            let message = format!("there is no job: no template came ({why})");
            ApiError::new(ErrorKind::NotFound, "HH2011", message)
        })
    }

    /// The link to the provider of a template, and whether it is still the connection that the template came over.
    fn provider_of(&self, template: &TemplateWork) -> (LinkStatus, bool) {
        let (address, is_connected) = template.provider().unwrap_or_default();
        let found = self.providers.snapshot().into_iter();
        let found = found.into_iter().find(|link| *link.address == *address);
        let found = found.unwrap_or_else(|| Link {
            address: address.to_string(),
            state: LinkState::Down,
            active: false,
            since_ms: self.received_ms(template),
            last_error: Some("not configured any more".to_owned()),
        });
        (link(found), is_connected)
    }

    /// The jobs of the newest template that channels have got last, and how many channels have one of an earlier template.
    fn channels_by_job(&self, work: &Work) -> (Vec<JobChannels>, u32) {
        let mut jobs = BTreeMap::<u32, u32>::new();
        let mut behind = 0;
        for channel in self.shared.directory.channels() {
            match channel.job_id() {
                Some(id) if work.job.shares_template_with(id) => *jobs.entry(id).or_default() += 1,
                _ => behind += 1,
            }
        }
        let row = |(job_id, channels)| JobChannels { job_id, channels };
        let mut jobs: Vec<JobChannels> = jobs.into_iter().map(row).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.channels));
        (jobs, behind)
    }

    fn future(&self, work: &TemplateWork) -> FutureTemplate {
        FutureTemplate {
            template_id: work.template.template_id,
            height: work.height,
            received_at: timestamp(self.received_ms(work)),
        }
    }

    /// When a template came, in civil time.
    pub(super) fn received_ms(&self, template: &TemplateWork) -> i64 {
        let clock = self.shared.directory.clock();
        let received_ms = i64::try_from(template.received_at_ms).unwrap_or(i64::MAX);
        clock.started_at_ms().saturating_add(received_ms)
    }
}

fn part(part: &hh_mining::ScriptSigPart) -> ScriptSigPart {
    use hh_mining::ScriptSigPart::{Extranonce, Height, Opcode, Push};
    let (name, hex, text) = match part {
        Height(height, bytes) => ("height", hex::encode(bytes), Some(height.to_string())),
        Push(bytes) => ("push", hex::encode(bytes), text(bytes)),
        Opcode(opcode) => ("opcode", format!("{opcode:02x}"), None),
        Extranonce(_) => ("extranonce", String::new(), None),
    };
    ScriptSigPart {
        part: name.to_owned(),
        hex,
        text,
    }
}

/// The bytes as text, where there is any: the tag has the id of the job behind it.
fn text(bytes: &[u8]) -> Option<String> {
    let has_text = bytes.iter().any(u8::is_ascii_graphic);
    has_text.then(|| bytes.escape_ascii().to_string())
}

/// The coinbase was proved when its job was built.
fn no_coinbase(error: &JobError) -> ApiError {
    let message = format!(
        "the coinbase of the current job is not as it should be: {}",
        Chain(error)
    );
    ApiError::new(ErrorKind::Failed, "HH2012", message)
}
