//! The pool's end: real SV2 connections, and work whose every header meets the target unless a test makes it harder.

use crate::DEADLINE;
use hh_mining::Target;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_sv2::message::{
    EXTENSION_NODE_CREDENTIAL, EXTENSION_WORKER_HASHRATE, NewExtendedMiningJob,
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    PresentCredential, PresentCredentialError, PresentCredentialSuccess, Protocol, Seq0255,
    SetNewPrevHash, SubmitSharesError, SubmitSharesExtended, SubmitSharesSuccess, Sv2Option,
    UpdateChannel,
};
use hh_sv2::setup::{SETUP_DEADLINE, server_setup};
use hh_sv2::{Authority, AuthorityPublicKey, AuthoritySecretKey, Connection, Limits, Message};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// What the pool lets its channels roll.
pub(crate) const EXTRANONCE_SIZE: u16 = 8;

/// Those that a node asks for.
pub(crate) const NODE_EXTENSIONS: [u16; 2] = [EXTENSION_WORKER_HASHRATE, EXTENSION_NODE_CREDENTIAL];

/// The group of all channels.
pub(crate) const GROUP: u32 = 1000;

pub(crate) const NBITS: u32 = 0x207f_ffff;
pub(crate) const NTIME: u32 = 1_700_000_000;
pub(crate) const VERSION: u32 = 0x2000_0000;
pub(crate) const COINBASE_PREFIX: [u8; 50] = [0xC1; 50];
pub(crate) const COINBASE_SUFFIX: [u8; 60] = [0xC2; 60];
pub(crate) const MERKLE_PATH: [[u8; 32]; 2] = [[0xA1; 32], [0xA2; 32]];

/// Listens, and gives the test one connection after the other.
pub(crate) struct Pool {
    listener: TcpListener,
    authority: Arc<Authority>,
}

/// One connection of the translator; dropping it closes it.
pub(crate) struct PoolConnection {
    connection: Connection,
    channels: u32,
    extensions: &'static [u16],
}

impl Pool {
    pub(crate) async fn start() -> Self {
        Self::at(
            "127.0.0.1:0".parse().unwrap(),
            AuthoritySecretKey::generate(),
        )
        .await
    }

    /// At an address that was another pool's, with a key of choice.
    pub(crate) async fn at(address: SocketAddr, secret: AuthoritySecretKey) -> Self {
        Self {
            listener: TcpListener::bind(address).await.unwrap(),
            authority: Arc::new(Authority::new(secret, CERTIFICATE_VALIDITY)),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn public_key(&self) -> AuthorityPublicKey {
        self.authority.public_key()
    }

    pub(crate) async fn accept(&self) -> PoolConnection {
        let accepting = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let connection = Connection::accept(stream, &self.authority, &Limits::SERVER).await;
            let mut connection = connection.unwrap();
            let protocol = Protocol::MiningProtocol;
            let setup = server_setup(&mut connection, protocol, 0, SETUP_DEADLINE)
                .await
                .unwrap();
            assert_eq!(setup.flags, 0, "the translator requires nothing");
            connection
        };
        PoolConnection {
            connection: timeout(DEADLINE, accepting)
                .await
                .expect("the translator connects"),
            channels: 0,
            extensions: &[],
        }
    }

    /// A connection on which the translator presents a credential, which is taken, and may name workers.
    pub(crate) async fn accept_node(&self) -> PoolConnection {
        let mut upstream = self.accept().await;
        upstream.negotiate(&NODE_EXTENSIONS).await;
        upstream.recv_credential().await;
        upstream.take().await;
        upstream
    }

    /// Refuses the setup of one connection.
    pub(crate) async fn accept_refusing(&self) {
        let stream = self.accept_silently().await;
        let mut connection = Connection::accept(stream, &self.authority, &Limits::SERVER)
            .await
            .unwrap();
        let other = Protocol::TemplateDistributionProtocol;
        server_setup(&mut connection, other, 0, SETUP_DEADLINE)
            .await
            .unwrap_err();
        connection.close().await.unwrap();
    }

    /// Accepts a TCP connection and does nothing with it.
    pub(crate) async fn accept_silently(&self) -> tokio::net::TcpStream {
        let accepted = timeout(DEADLINE, self.listener.accept()).await;
        accepted.expect("the translator connects").unwrap().0
    }

    /// Lets one handshake fail, as it does when the client pins another key.
    pub(crate) async fn accept_failing(&self) {
        let stream = self.accept_silently().await;
        let accepted = Connection::accept(stream, &self.authority, &Limits::SERVER).await;
        // The client hangs up once it has seen the certificate.
        if let Ok(mut connection) = accepted {
            timeout(DEADLINE, connection.recv())
                .await
                .unwrap()
                .unwrap_err();
        }
    }
}

impl PoolConnection {
    /// The next message, but for a wish for extensions: that is granted or refused.
    pub(crate) async fn recv(&mut self) -> Message {
        loop {
            match self.recv_any().await {
                Message::RequestExtensions(request) => {
                    let (answer, _) = hh_sv2::extensions::answer(request, self.extensions);
                    self.send([answer]).await;
                }
                other => return other,
            }
        }
    }

    pub(crate) async fn recv_any(&mut self) -> Message {
        let message = timeout(DEADLINE, self.connection.recv()).await;
        message.expect("the translator sends a message").unwrap()
    }

    /// Answers RequestExtensions, and grants what of it is in `supported`.
    pub(crate) async fn negotiate(&mut self, supported: &[u16]) {
        let Message::RequestExtensions(request) = self.recv_any().await else {
            panic!("no RequestExtensions");
        };
        let (answer, _) = hh_sv2::extensions::answer(request, supported);
        self.send([answer]).await;
    }

    pub(crate) async fn recv_credential(&mut self) -> PresentCredential {
        match self.recv().await {
            Message::PresentCredential(message) => message,
            other => panic!("no credential: {other:?}"),
        }
    }

    pub(crate) async fn recv_update(&mut self) -> UpdateChannel {
        match self.recv().await {
            Message::UpdateChannel(update) => update,
            other => panic!("no update: {other:?}"),
        }
    }

    pub(crate) async fn take(&mut self) {
        self.send([PresentCredentialSuccess {}.into()]).await;
    }

    pub(crate) async fn refuse_credential(&mut self, code: &str) {
        let error_code = code.try_into().unwrap();
        self.send([PresentCredentialError { error_code }.into()])
            .await;
    }

    /// Grants this extension from here on.
    pub(crate) fn grant_extensions(&mut self, extensions: &'static [u16]) {
        self.extensions = extensions;
    }

    pub(crate) async fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.connection.queue(message).unwrap();
        }
        self.connection.flush().await.unwrap();
    }

    pub(crate) async fn recv_open(&mut self) -> OpenExtendedMiningChannel {
        match self.recv().await {
            Message::OpenExtendedMiningChannel(open) => open,
            other => panic!("not an open: {other:?}"),
        }
    }

    /// A share, and the worker that it names.
    pub(crate) async fn recv_named_share(&mut self) -> (SubmitSharesExtended, Option<String>) {
        match self.recv().await {
            Message::SubmitSharesExtended(share, worker) => (share, worker),
            other => panic!("not a share: {other:?}"),
        }
    }

    pub(crate) async fn recv_share(&mut self) -> SubmitSharesExtended {
        match self.recv().await {
            Message::SubmitSharesExtended(share, None) => share,
            other => panic!("not a share: {other:?}"),
        }
    }

    /// Opens the next channel that is asked for, in the group, with job 1 on the tip of [`tip`]. Gives its id.
    pub(crate) async fn open(&mut self) -> u32 {
        self.open_at(Target::MAX).await
    }

    pub(crate) async fn open_at(&mut self, target: Target) -> u32 {
        let open = self.recv_open().await;
        let channel_id = self.grant(&open, target).await;
        self.send([future_job(channel_id, 1), tip(channel_id, 1, 0x11)])
            .await;
        channel_id
    }

    /// Answers an open and sends no work.
    pub(crate) async fn grant(&mut self, open: &OpenExtendedMiningChannel, target: Target) -> u32 {
        self.grant_next(open, target, self.channels + 1).await
    }

    /// The same, as the channel of that number; the next ones come after it.
    pub(crate) async fn grant_next(
        &mut self,
        open: &OpenExtendedMiningChannel,
        target: Target,
        channel_id: u32,
    ) -> u32 {
        assert!(open.min_extranonce_size <= EXTRANONCE_SIZE);
        self.channels = channel_id;
        self.send([OpenExtendedMiningChannelSuccess {
            request_id: open.request_id,
            channel_id,
            target: target.to_le_bytes().into(),
            extranonce_size: EXTRANONCE_SIZE,
            extranonce_prefix: prefix(channel_id).to_vec().try_into().unwrap(),
            group_channel_id: GROUP,
        }
        .into()])
            .await;
        channel_id
    }

    pub(crate) async fn refuse(&mut self, open: &OpenExtendedMiningChannel, code: &str) {
        let error = OpenMiningChannelError {
            request_id: open.request_id,
            error_code: code.try_into().unwrap(),
        };
        self.send([error.into()]).await;
    }

    /// The next channel gets the id after the next one.
    pub(crate) fn skip_channel_id(&mut self) {
        self.channels += 1;
    }

    /// Opens the channel that is asked for next, with job `job_id` on a tip of `byte`s.
    pub(crate) async fn open_with(&mut self, job_id: u32, byte: u8) -> u32 {
        let open = self.recv_open().await;
        let channel_id = self.grant(&open, Target::MAX).await;
        self.send([
            future_job(channel_id, job_id),
            tip(channel_id, job_id, byte),
        ])
        .await;
        channel_id
    }

    /// SubmitShares.Success.
    pub(crate) async fn settle(&mut self, channel_id: u32, last_sequence_number: u32, count: u32) {
        let success = SubmitSharesSuccess {
            channel_id,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: 0,
        };
        self.send([success.into()]).await;
    }

    /// SubmitShares.Error.
    pub(crate) async fn reject(&mut self, channel_id: u32, sequence_number: u32, code: &str) {
        let error = SubmitSharesError {
            channel_id,
            sequence_number,
            error_code: code.try_into().unwrap(),
        };
        self.send([error.into()]).await;
    }
}

/// The extranonce prefix of a channel.
pub(crate) fn prefix(channel_id: u32) -> [u8; 8] {
    let mut prefix = [0xE0; 8];
    prefix[4..].copy_from_slice(&channel_id.to_be_bytes());
    prefix
}

pub(crate) fn future_job(channel_id: u32, job_id: u32) -> Message {
    job(channel_id, job_id, None, true).into()
}

pub(crate) fn job_now(channel_id: u32, job_id: u32) -> Message {
    job(channel_id, job_id, Some(NTIME), true).into()
}

pub(crate) fn job(
    channel_id: u32,
    job_id: u32,
    min_ntime: Option<u32>,
    version_rolling_allowed: bool,
) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime: Sv2Option::new(min_ntime),
        version: VERSION,
        version_rolling_allowed,
        merkle_path: Seq0255::new(MERKLE_PATH.map(Into::into).to_vec()).unwrap(),
        coinbase_tx_prefix: COINBASE_PREFIX.to_vec().try_into().unwrap(),
        coinbase_tx_suffix: COINBASE_SUFFIX.to_vec().try_into().unwrap(),
    }
}

/// SetNewPrevHash to a block whose hash is `byte` over and over.
pub(crate) fn tip(channel_id: u32, job_id: u32, byte: u8) -> Message {
    SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: [byte; 32].into(),
        min_ntime: NTIME,
        nbits: NBITS,
    }
    .into()
}
