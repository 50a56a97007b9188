//! A client of the Mining protocol built on the reference implementation's codec, Noise states and message parser: every byte
//! that it sends and reads has been through their code, none through hh-sv2's.

use crate::miner::hasher::solve;
use anyhow::{Context, Result, bail, ensure};
use hh_mining::{BlockHash, Header, Target};
use hh_sv2::AuthorityPublicKey;
use std::net::SocketAddr;
use stratum_core::codec_sv2::state::InitiatorSent;
use stratum_core::codec_sv2::{
    Decoded, Decrypted, Handshake, NoiseDecoder, NoiseEncoder, TransportDecryptState,
    TransportEncryptState,
};
use stratum_core::common_messages_sv2::{Protocol, SetupConnectionOwned};
use stratum_core::framing_sv2::framing::MessageFrame;
use stratum_core::mining_sv2::{
    NewMiningJobOwned, OpenStandardMiningChannelOwned, SetNewPrevHashOwned, SubmitSharesStandard,
};
use stratum_core::noise_sv2::{INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator};
use stratum_core::parsers_sv2::{AnyMessage, AnyMessageOwned, CommonMessagesOwned, MiningOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server said to SetupConnection.
#[derive(Debug, PartialEq, Eq)]
pub enum Setup {
    Success,
    /// Its error code, and the flags that it does not do.
    Refused {
        code: String,
        flags: u32,
    },
}

/// See the module.
pub struct ReferenceClient {
    stream: TcpStream,
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    encrypt: TransportEncryptState,
    /// Their decoder takes it and gives it back, and keeps it when a frame can't be decrypted.
    decrypt: Option<TransportDecryptState>,
}

impl std::fmt::Debug for ReferenceClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReferenceClient")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// An open standard channel, and what is to be worked on.
#[derive(Debug)]
pub struct StandardChannel {
    id: u32,
    target: Target,
    job: NewMiningJobOwned,
    tip: SetNewPrevHashOwned,
    sequence_number: u32,
}

impl ReferenceClient {
    /// Connects and does the handshake.
    ///
    /// # Errors
    /// Nobody listens, or it is another one than `key` says.
    pub async fn connect(address: SocketAddr, key: &AuthorityPublicKey) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let (mut encoder, mut decoder) = (NoiseEncoder::new(), NoiseDecoder::new());
        let initiator = Initiator::from_raw_k(key.to_bytes()).map_err(theirs)?;
        let (first, handshake) = Handshake::initiator(initiator).step_0().map_err(theirs)?;
        stream
            .write_all(encoder.encode_handshake(first).as_ref())
            .await?;
        let second = loop {
            read_wanted(&mut stream, &mut decoder).await?;
            if let Decoded::Frame(frame) = decoder
                .next_handshake_frame::<InitiatorSent>()
                .map_err(theirs)?
            {
                break frame;
            }
        };
        let second: [u8; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE] =
            second.payload().try_into()?;
        let (encrypt, decrypt) = handshake.step_2(second).map_err(theirs)?.split();
        Ok(Self {
            stream,
            encoder,
            decoder,
            encrypt,
            decrypt: Some(decrypt),
        })
    }

    /// SetupConnection, and what is said to it.
    ///
    /// # Errors
    /// The connection is gone, or the answer is no answer to it.
    pub async fn setup(&mut self, protocol: Protocol, flags: u32) -> Result<Setup> {
        let setup = SetupConnectionOwned {
            protocol,
            min_version: 2,
            max_version: 2,
            flags,
            endpoint_host: text("localhost"),
            endpoint_port: 0,
            vendor: text("reference"),
            hardware_version: text(""),
            firmware: text(""),
            device_id: text(""),
        };
        let setup = CommonMessagesOwned::SetupConnection(setup);
        self.send(AnyMessageOwned::Common(setup)).await?;
        match self.receive().await? {
            AnyMessageOwned::Common(CommonMessagesOwned::SetupConnectionSuccess(_)) => {
                Ok(Setup::Success)
            }
            AnyMessageOwned::Common(CommonMessagesOwned::SetupConnectionError(error)) => {
                Ok(Setup::Refused {
                    code: error.error_code.as_utf8_or_hex(),
                    flags: error.flags,
                })
            }
            other => bail!("no answer to SetupConnection: {other:?}"),
        }
    }

    /// Opens a standard channel and waits for work.
    ///
    /// # Errors
    /// The connection is gone, or the channel is refused.
    pub async fn open_standard(&mut self, user_identity: &str) -> Result<StandardChannel> {
        let open = OpenStandardMiningChannelOwned {
            request_id: 1,
            user_identity: text(user_identity),
            nominal_hash_rate: 1.0,
            max_target: Target::MAX.to_le_bytes().into(),
        };
        self.send(AnyMessageOwned::Mining(
            MiningOwned::OpenStandardMiningChannel(open),
        ))
        .await?;
        let (mut opened, mut job) = (None, None);
        loop {
            let AnyMessageOwned::Mining(message) = self.receive().await? else {
                bail!("a message that is not of the Mining protocol");
            };
            match message {
                MiningOwned::OpenStandardMiningChannelSuccess(success) => opened = Some(success),
                MiningOwned::NewMiningJob(new) => job = Some(new),
                MiningOwned::SetNewPrevHash(tip) => {
                    let success = opened.context("a tip before the channel")?;
                    let job = job.context("a tip before its job")?;
                    ensure!(job.job_id == tip.job_id, "the tip names another job");
                    return Ok(StandardChannel {
                        id: success.channel_id,
                        target: Target::from_le_bytes(*success.target.as_array()),
                        job,
                        tip,
                        sequence_number: 0,
                    });
                }
                MiningOwned::SetTarget(_) => {}
                other => bail!("unexpected: {other:?}"),
            }
        }
    }

    /// Finds a share, submits it and waits until it is accepted.
    ///
    /// # Errors
    /// The connection is gone, or the share is refused.
    pub async fn mine(&mut self, channel: &mut StandardChannel) -> Result<BlockHash> {
        let (share, hash) = channel.solve();
        let submit = MiningOwned::SubmitSharesStandard(share);
        self.send(AnyMessageOwned::Mining(submit)).await?;
        loop {
            match self.receive().await? {
                AnyMessageOwned::Mining(MiningOwned::SubmitSharesSuccess(success)) => {
                    ensure!(success.last_sequence_number == channel.sequence_number);
                    ensure!(success.new_submits_accepted_count == 1);
                    return Ok(hash);
                }
                AnyMessageOwned::Mining(MiningOwned::SubmitSharesError(error)) => {
                    bail!("refused: {}", error.error_code.as_utf8_or_hex())
                }
                _ => {}
            }
        }
    }

    async fn send(&mut self, message: AnyMessageOwned) -> Result<()> {
        let frame = MessageFrame::<AnyMessageOwned>::try_from(message).map_err(theirs)?;
        let bytes = self
            .encoder
            .encode_transport(frame, &mut self.encrypt)
            .map_err(theirs)?;
        Ok(self.stream.write_all(bytes.as_ref()).await?)
    }

    async fn receive(&mut self) -> Result<AnyMessageOwned> {
        loop {
            read_wanted(&mut self.stream, &mut self.decoder).await?;
            let state = self
                .decrypt
                .take()
                .context("the connection has failed before")?;
            match self.decoder.next_transport_frame(state).map_err(theirs)? {
                Decrypted::Frame(mut frame, state) => {
                    self.decrypt = Some(state);
                    let header = frame.header();
                    let message =
                        AnyMessage::try_from((header, frame.payload())).map_err(theirs)?;
                    return Ok(message.into_owned());
                }
                Decrypted::Incomplete(_, state) => self.decrypt = Some(state),
            }
        }
    }
}

impl StandardChannel {
    fn solve(&mut self) -> (SubmitSharesStandard, BlockHash) {
        self.sequence_number += 1;
        let header = Header {
            version: self.job.version,
            prev_hash: *self.tip.prev_hash.as_array(),
            merkle_root: *self.job.merkle_root.as_array(),
            ntime: self.tip.min_ntime,
            nbits: self.tip.nbits,
            nonce: self.sequence_number << 24,
        };
        let (header, hash) = solve(header, &self.target);
        let share = SubmitSharesStandard {
            channel_id: self.id,
            sequence_number: self.sequence_number,
            job_id: self.job.job_id,
            nonce: header.nonce,
            ntime: header.ntime,
            version: header.version,
        };
        (share, hash)
    }
}

/// Gives their decoder as many bytes as it asks for.
async fn read_wanted(stream: &mut TcpStream, decoder: &mut NoiseDecoder) -> Result<()> {
    let mut bytes = vec![0; decoder.writable_len()];
    stream.read_exact(&mut bytes).await?;
    decoder.writable().copy_from_slice(&bytes);
    Ok(())
}

fn text(text: &str) -> stratum_core::binary_sv2::Str0255Owned {
    let text = text.to_owned().try_into();
    text.expect("a test's texts are short")
}

/// Their errors are no `std::error::Error`.
fn theirs(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow::anyhow!("stratum-core: {error:?}")
}
