//! A client of Template Distribution.

use std::time::Duration;

use hh_mining::{CoinbaseRecipe, Extranonce, Header, Job, Target, Template};
use hh_sv2::message::{
    CoinbaseOutputConstraints, NewTemplate, Protocol, RequestTransactionData, SubmitSolution,
    TemplateSetNewPrevHash,
};
use hh_sv2::setup::{ClientSetup, client_setup};
use hh_sv2::{Connection, ConnectionError, Limits, Message};
use tokio::net::TcpStream;

use crate::daemon::Tp;
use crate::node::{START, anyone};

pub(crate) struct Client {
    connection: Connection,
    prev_hash: Option<TemplateSetNewPrevHash>,
}

impl Client {
    /// Connected, and its constraints sent.
    pub(crate) async fn with_outputs(tp: &Tp, size: u32) -> Self {
        let mut client = Self::without_constraints(tp).await;
        client.constrain(size).await;
        client
    }

    pub(crate) async fn start(tp: &Tp) -> Self {
        Self::with_outputs(tp, 100).await
    }

    pub(crate) async fn without_constraints(tp: &Tp) -> Self {
        Self::on(connect(tp).await, tp).await
    }

    /// Set up on a socket that is connected.
    pub(crate) async fn on(stream: TcpStream, tp: &Tp) -> Self {
        let mut connection = Connection::initiate(stream, Some(&tp.authority), &Limits::CLIENT)
            .await
            .unwrap();
        let setup = ClientSetup {
            protocol: Protocol::TemplateDistributionProtocol,
            flags: 0,
            endpoint_host: "127.0.0.1".to_owned(),
            endpoint_port: 0,
            vendor: "test".to_owned(),
            hardware_version: String::new(),
            firmware: String::new(),
            device_id: String::new(),
        };
        client_setup(&mut connection, &setup, START).await.unwrap();
        Self {
            connection,
            prev_hash: None,
        }
    }

    pub(crate) async fn constrain(&mut self, size: u32) {
        self.send(CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: size,
            coinbase_output_max_additional_sigops: 4,
        })
        .await;
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.connection.queue(message).unwrap();
        self.connection.flush().await.unwrap();
    }

    pub(crate) async fn recv(&mut self) -> Result<Message, ConnectionError> {
        tokio::time::timeout(START, self.connection.recv())
            .await
            .expect("a message")
    }

    pub(crate) async fn silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.connection.recv())
            .await
            .is_err()
    }

    /// The next template, and whether it came with a new tip. A future template must be followed by its tip, another must not.
    pub(crate) async fn template(&mut self) -> (NewTemplate, bool) {
        let Message::NewTemplate(template) = self.recv().await.unwrap() else {
            panic!("not a template");
        };
        if !template.future_template {
            assert!(self.prev_hash.is_some(), "a template without a tip");
            return (template, false);
        }
        let Message::TemplateSetNewPrevHash(prev_hash) = self.recv().await.unwrap() else {
            panic!("a future template without SetNewPrevHash");
        };
        assert_eq!(prev_hash.template_id, template.template_id);
        self.prev_hash = Some(prev_hash);
        (template, true)
    }

    pub(crate) fn prev_hash(&self) -> [u8; 32] {
        let prev_hash = self.prev_hash.as_ref().unwrap();
        prev_hash.prev_hash.as_ref().try_into().unwrap()
    }

    pub(crate) async fn transaction_data(&mut self, template_id: u64) -> Message {
        self.send(RequestTransactionData { template_id }).await;
        self.recv().await.unwrap()
    }

    /// Mines a block on the template, whose tip must be the one told last.
    pub(crate) fn solve(&self, template: &NewTemplate) -> SubmitSolution {
        let extranonce = Extranonce::from_bytes([7; 16]);
        let coinbase = job(template).coinbase_with_witness(&extranonce);
        let mut solution = SubmitSolution {
            template_id: template.template_id,
            version: template.version,
            header_timestamp: self.prev_hash.as_ref().unwrap().header_timestamp,
            header_nonce: 0,
            coinbase_tx: coinbase.try_into().unwrap(),
        };
        while !self.is_block(template, &solution) {
            solution.header_nonce += 1;
        }
        solution
    }

    /// Whether a solution made by [`Self::solve`], and then changed, meets the target.
    pub(crate) fn is_block(&self, template: &NewTemplate, solution: &SubmitSolution) -> bool {
        let tip = self.prev_hash.as_ref().unwrap();
        let target = Target::from_le_bytes(tip.target.as_ref().try_into().unwrap());
        let header = Header {
            version: solution.version,
            prev_hash: self.prev_hash(),
            merkle_root: job(template).merkle_root(&Extranonce::from_bytes([7; 16])),
            ntime: solution.header_timestamp,
            nbits: tip.n_bits,
            nonce: solution.header_nonce,
        };
        target.is_met_by(&header.hash())
    }
}

/// A socket that has said nothing yet.
pub(crate) async fn connect(tp: &Tp) -> TcpStream {
    TcpStream::connect(tp.address().await).await.unwrap()
}

fn job(template: &NewTemplate) -> Job {
    let recipe = CoinbaseRecipe {
        reward_script: anyone(),
        tag: b"/test/".to_vec(),
    };
    Job::build(&as_template(template), &recipe).unwrap()
}

fn as_template(template: &NewTemplate) -> Template {
    Template {
        template_id: template.template_id,
        version: template.version,
        coinbase_tx_version: template.coinbase_tx_version,
        coinbase_prefix: template.coinbase_prefix.as_ref().to_vec(),
        coinbase_tx_input_sequence: template.coinbase_tx_input_sequence,
        coinbase_tx_value_remaining: template.coinbase_tx_value_remaining,
        coinbase_tx_outputs_count: template.coinbase_tx_outputs_count,
        coinbase_tx_outputs: template.coinbase_tx_outputs.as_ref().to_vec(),
        coinbase_tx_locktime: template.coinbase_tx_locktime,
        merkle_path: template
            .merkle_path
            .as_slice()
            .iter()
            .map(|node| node.as_ref().try_into().unwrap())
            .collect(),
    }
}
