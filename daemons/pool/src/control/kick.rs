//! The answer to `kick`.

use super::{Control, MAX_LISTED, count};
use crate::directory::ChannelView;
use crate::kick::{Chosen, Selector};
use hh_daemon::{AddressRange, Caller};
use hh_ipc::api::pool::{KickRequest, Kicked, KickedMiner, MinerSelector};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;

impl Control {
    pub(super) async fn kick(
        &self,
        caller: &Caller,
        request: KickRequest,
    ) -> Result<Kicked, ApiError> {
        caller.may_change()?;
        let arguments = json!(request.miners);
        let selector = selector(request.miners)?;
        let chosen = Chosen::find(&selector, &self.shared.directory, &self.admission);
        if chosen.is_empty() {
            return Err(nobody(&selector));
        }
        let kicked = answer(&chosen);
        if request.dry_run {
            return Ok(kicked);
        }
        let kick = async {
            chosen.end();
            let (connections, channels) = (kicked.connections, kicked.channels);
            tracing::info!(?selector, connections, channels, "miners kicked");
            Ok(kicked)
        };
        let call = "miner.kick";
        self.journal
            .record(&caller.peer, call, arguments, kick)
            .await
    }
}

fn selector(miners: MinerSelector) -> Result<Selector, ApiError> {
    Ok(match miners {
        MinerSelector::Channel(id) => Selector::Channel(id),
        MinerSelector::Account(account) => Selector::Account(account),
        MinerSelector::Address(address) => Selector::Address(range(&address)?),
    })
}

/// An address or range as an operator wrote it.
pub(super) fn range(text: &str) -> Result<AddressRange, ApiError> {
    let parsed = text.parse::<AddressRange>();
    parsed.map_err(|error| ApiError::new(ErrorKind::Usage, "HH2005", error.to_string()))
}

fn nobody(selector: &Selector) -> ApiError {
    let message = match selector {
        Selector::Channel(id) => format!("no channel with id {id} is open"),
        Selector::Account(account) => format!("no miner of {account} is connected"),
        Selector::Address(range) => format!("nobody is connected from {range}"),
    };
    ApiError::new(ErrorKind::NotFound, "HH2004", message)
}

pub(super) fn answer(chosen: &Chosen) -> Kicked {
    let row = |view: &ChannelView, connection_stays| {
        let origin = view.origin();
        KickedMiner {
            id: view.id,
            account: origin.account().to_owned(),
            worker: origin.worker().to_owned(),
            peer: view.connection.peer.to_string(),
            connection_stays,
        }
    };
    let whole = chosen.with_connection.iter().map(|view| row(view, false));
    let alone = chosen.alone.iter().map(|view| row(view, true));
    let mut miners: Vec<KickedMiner> = whole.chain(alone).collect();
    let channels = count(miners.len());
    miners.sort_by(|a, b| (&a.account, &a.worker, a.id).cmp(&(&b.account, &b.worker, b.id)));
    miners.truncate(MAX_LISTED);
    Kicked {
        connections: count(chosen.connections.len()),
        channels,
        miners,
    }
}
