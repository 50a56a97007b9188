//! An SV2 miner's end: messages out, messages in.

use crate::DEADLINE;
use crate::pool::{NTIME, PoolConnection, VERSION};
use crate::translator::Translator;
use hh_mining::Target;
use hh_sv2::message::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel,
    Protocol, SubmitSharesExtended, SubmitSharesStandard,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup};
use hh_sv2::{Connection, Limits, Message};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The request that opens a channel.
pub(crate) const REQUEST: u32 = 77;

pub(crate) struct Client {
    pub(crate) connection: Connection,
}

impl Client {
    /// Connects with the key that the translator shows, and sets the connection up.
    pub(crate) async fn connect(translator: &Translator, flags: u32) -> Self {
        Self::try_connect(translator, flags).await.unwrap()
    }

    pub(crate) async fn try_connect(
        translator: &Translator,
        flags: u32,
    ) -> Result<Self, SetupError> {
        let stream = TcpStream::connect(translator.address).await.unwrap();
        Self::set_up(translator, stream, flags).await
    }

    /// The same on a socket that is connected.
    pub(crate) async fn set_up(
        translator: &Translator,
        stream: TcpStream,
        flags: u32,
    ) -> Result<Self, SetupError> {
        let key = translator.status().await.authority_public_key;
        let key = key.expect("an SV2 lane has a key").parse().unwrap();
        let connection = Connection::initiate(stream, Some(&key), &Limits::CLIENT).await;
        let mut connection = connection?;
        let setup = ClientSetup {
            protocol: Protocol::MiningProtocol,
            flags,
            endpoint_host: "localhost".to_owned(),
            endpoint_port: translator.address.port(),
            vendor: "maker".to_owned(),
            hardware_version: "model".to_owned(),
            firmware: "1.0".to_owned(),
            device_id: String::new(),
        };
        client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
        Ok(Self { connection })
    }

    /// One that has its first job on an extended channel, with the ids of both.
    pub(crate) async fn mining(
        translator: &Translator,
        upstream: &mut PoolConnection,
    ) -> (Self, u32, u32) {
        let mut client = Self::connect(translator, 0).await;
        client.ask_extended("alice.rig1").await;
        upstream.open().await;
        let channel_id = client.opened().await.channel_id;
        let job_id = client.first_job().await;
        (client, channel_id, job_id)
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.connection.queue(message).unwrap();
        self.connection.flush().await.unwrap();
    }

    pub(crate) async fn recv(&mut self) -> Message {
        let received = timeout(DEADLINE, self.connection.recv()).await;
        received.expect("the translator says something").unwrap()
    }

    /// Waits for the end of the connection; what is said before it is dropped.
    pub(crate) async fn closed(&mut self) {
        let end = async { while self.connection.recv().await.is_ok() {} };
        let end = timeout(DEADLINE, end).await;
        end.expect("the translator closes the connection");
    }

    pub(crate) async fn ask_extended(&mut self, user_identity: &str) {
        self.send(open_extended(user_identity)).await;
    }

    pub(crate) async fn ask_standard(&mut self, user_identity: &str) {
        self.send(OpenStandardMiningChannel {
            request_id: REQUEST,
            user_identity: user_identity.try_into().unwrap(),
            nominal_hash_rate: 1e9,
            max_target: Target::MAX.to_le_bytes().into(),
        })
        .await;
    }

    /// What is said to an open of an extended channel that is granted.
    pub(crate) async fn opened(&mut self) -> OpenExtendedMiningChannelSuccess {
        match self.recv().await {
            Message::OpenExtendedMiningChannelSuccess(opened) => opened,
            other => panic!("not opened: {other:?}"),
        }
    }

    /// The first job of a channel, after which it may submit: its id.
    pub(crate) async fn first_job(&mut self) -> u32 {
        loop {
            match self.recv().await {
                Message::SetNewPrevHash(tip) => return tip.job_id,
                Message::NewExtendedMiningJob(_) | Message::NewMiningJob(_) => {}
                other => panic!("not work: {other:?}"),
            }
        }
    }

    /// The next answer to shares.
    pub(crate) async fn verdict(&mut self) -> Verdict {
        loop {
            match self.recv().await {
                Message::SubmitSharesSuccess(success) => {
                    return Verdict::Accepted {
                        last: success.last_sequence_number,
                        count: success.new_submits_accepted_count,
                    };
                }
                Message::SubmitSharesError(error) => {
                    return Verdict::Refused {
                        number: error.sequence_number,
                        code: error.error_code.as_utf8_or_hex(),
                    };
                }
                Message::SetTarget(_)
                | Message::NewMiningJob(_)
                | Message::NewExtendedMiningJob(_) => {}
                other => panic!("not a verdict: {other:?}"),
            }
        }
    }
}

/// What is said to shares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted { last: u32, count: u32 },
    Refused { number: u32, code: String },
}

pub(crate) fn accepted(last: u32, count: u32) -> Verdict {
    Verdict::Accepted { last, count }
}

pub(crate) fn refused(number: u32, code: &str) -> Verdict {
    Verdict::Refused {
        number,
        code: code.to_owned(),
    }
}

pub(crate) fn open_extended(user_identity: &str) -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id: REQUEST,
        user_identity: user_identity.try_into().unwrap(),
        nominal_hash_rate: 1e9,
        max_target: Target::MAX.to_le_bytes().into(),
        min_extranonce_size: 4,
    }
}

/// A share that meets any target; `nonce` is what tells it from others.
pub(crate) fn extended_share(
    channel_id: u32,
    job_id: u32,
    sequence_number: u32,
    nonce: u32,
) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id,
        sequence_number,
        job_id,
        nonce,
        ntime: NTIME,
        version: VERSION,
        extranonce: vec![5; 8].try_into().unwrap(),
    }
}

pub(crate) fn standard_share(
    channel_id: u32,
    job_id: u32,
    sequence_number: u32,
    nonce: u32,
) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id,
        sequence_number,
        job_id,
        nonce,
        ntime: NTIME,
        version: VERSION,
    }
}
