//! The messages: SRI's structs under flat names, one enum over all of them, and their encoding.
//!
//! Owns the table of message types and `channel_msg` bits (specification 8). It never looks at what a field means.
//! Messages of the Job Declaration protocol are not in the table and arrive as [`Message::Unknown`].

mod credential;
mod tlv;

use stratum_core::{
    binary_sv2::{self, Deserialize, GetSize},
    common_messages_sv2 as common, extensions_sv2 as extensions, mining_sv2 as mining,
    template_distribution_sv2 as template,
};

pub use credential::{PresentCredential, PresentCredentialError, PresentCredentialSuccess};
pub use stratum_core::binary_sv2::{
    B016MOwned as B016M, B032Owned as B032, B064KOwned as B064K, B0255Owned as B0255,
    Seq064KOwned as Seq064K, Seq0255Owned as Seq0255, Str0255Owned as Str0255,
    Sv2OptionOwned as Sv2Option, U256Owned as U256,
};
pub use stratum_core::common_messages_sv2::{
    ChannelEndpointChanged, Protocol, ReconnectOwned as Reconnect,
    SetupConnectionErrorOwned as SetupConnectionError, SetupConnectionOwned as SetupConnection,
    SetupConnectionSuccess,
};
pub use stratum_core::extensions_sv2::{
    RequestExtensionsErrorOwned as RequestExtensionsError,
    RequestExtensionsOwned as RequestExtensions,
    RequestExtensionsSuccessOwned as RequestExtensionsSuccess,
};
pub use stratum_core::mining_sv2::{
    CloseChannelOwned as CloseChannel, NewExtendedMiningJobOwned as NewExtendedMiningJob,
    NewMiningJobOwned as NewMiningJob, OpenExtendedMiningChannelOwned as OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccessOwned as OpenExtendedMiningChannelSuccess,
    OpenMiningChannelErrorOwned as OpenMiningChannelError,
    OpenStandardMiningChannelOwned as OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccessOwned as OpenStandardMiningChannelSuccess,
    SetCustomMiningJobErrorOwned as SetCustomMiningJobError,
    SetCustomMiningJobOwned as SetCustomMiningJob, SetCustomMiningJobSuccess,
    SetExtranoncePrefixOwned as SetExtranoncePrefix, SetGroupChannelOwned as SetGroupChannel,
    SetNewPrevHashOwned as SetNewPrevHash, SetTargetOwned as SetTarget,
    SubmitSharesErrorOwned as SubmitSharesError, SubmitSharesExtendedOwned as SubmitSharesExtended,
    SubmitSharesStandard, SubmitSharesSuccess, UpdateChannelErrorOwned as UpdateChannelError,
    UpdateChannelOwned as UpdateChannel,
};
pub use stratum_core::template_distribution_sv2::{
    CoinbaseOutputConstraints, NewTemplateOwned as NewTemplate, RequestTransactionData,
    RequestTransactionDataErrorOwned as RequestTransactionDataError,
    RequestTransactionDataSuccessOwned as RequestTransactionDataSuccess,
    SetNewPrevHashOwned as TemplateSetNewPrevHash, SubmitSolutionOwned as SubmitSolution,
};
pub use tlv::USER_IDENTITY_BYTES_MAX;

use crate::frame::Header;

/// The version of the protocol that this crate speaks: exactly 2 (specification 3.6.1).
pub const PROTOCOL_VERSION: u16 = 2;

/// SetupConnection flag of the Mining protocol: the device handles standard jobs only.
pub const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
/// SetupConnection flag of the Mining protocol: the client will send custom work.
pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
/// SetupConnection flag of the Mining protocol: the client needs version rolling.
pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;

/// Core messages carry extension type 0 (specification 3.4.1).
pub const EXTENSION_CORE: u16 = 0x0000;
/// Message type of SetupConnection.
const SETUP_CONNECTION: u8 = 0x00;

/// Extension 0x0001: negotiation of extensions.
pub const EXTENSION_NEGOTIATION: u16 = 0x0001;
/// Extension 0x0002: a worker's name in each SubmitSharesExtended.
pub const EXTENSION_WORKER_HASHRATE: u16 = 0x0002;
/// Our own extension, "HH": a node presents its credential. It lies in the range of experiments, 0x4000 to 0x7fff, which nobody
/// hands out (specification 3.4).
pub const EXTENSION_NODE_CREDENTIAL: u16 = 0x4848;

/// Why bytes are no message, or a message has no bytes.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} (extension {extension_type:#06x}, type {message_type:#04x}, {length} bytes): {reason}"
)]
pub struct MessageError {
    /// Name of the message in the specification.
    pub name: &'static str,
    /// Extension type without the `channel_msg` bit.
    pub extension_type: u16,
    /// Message type.
    pub message_type: u8,
    /// Length of the payload.
    pub length: usize,
    /// What the codec said.
    pub reason: String,
}

/// A message of an extension or type that this crate has no struct for.
///
/// What is addressed to the receiving device must be discarded; a proxy must forward what has `channel_msg` set
/// (specification 3.4.1), so the payload is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Extension type without the `channel_msg` bit.
    pub extension_type: u16,
    /// Message type.
    pub message_type: u8,
    /// Whether the first four bytes of the payload are a channel id.
    pub channel_msg: bool,
    /// The payload as it came.
    pub payload: Vec<u8>,
}

impl Unknown {
    /// Whether this is a SetupConnection for a protocol without a number in the specification: the payload is not empty
    /// and starts with that number.
    pub(crate) fn is_setup_of_unknown_protocol(&self) -> bool {
        let kind = (self.extension_type, self.message_type);
        kind == (EXTENSION_CORE, SETUP_CONNECTION) && !self.payload.is_empty()
    }
}

macro_rules! messages {
    ($($name:ident: $extension:ident, $kind:literal, $channel:literal, $wire:path;)*) => {
        /// Any message of the common, Mining and Template Distribution protocols, of extension 0x0001 and of our own.
        #[derive(Debug, Clone)]
        pub enum Message {
            $(
                #[doc = concat!("[`", stringify!($name), "`], type ", stringify!($kind), ".")]
                $name($name),
            )*
            /// [`SubmitSharesExtended`], type 0x1b, and the `user_identity` that extension 0x0002 appends to it. It must be
            /// ignored unless that extension was negotiated, and then refused when longer than
            /// [`USER_IDENTITY_BYTES_MAX`]; both are the receiver's to do.
            SubmitSharesExtended(SubmitSharesExtended, Option<String>),
            /// Anything else.
            Unknown(Unknown),
        }

        $(
            impl From<$name> for Message {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )*

        impl Message {
            /// The message's name in the specification, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                    Self::SubmitSharesExtended(..) => "SubmitSharesExtended",
                    Self::Unknown(_) => "Unknown",
                }
            }

            /// Extension type, message type and `channel_msg` bit of the frame that carries this message.
            pub(crate) fn kind(&self) -> (u16, u8, bool) {
                match self {
                    $(Self::$name(_) => ($extension, $kind, $channel),)*
                    Self::SubmitSharesExtended(..) => (EXTENSION_CORE, 0x1b, true),
                    Self::Unknown(m) => (m.extension_type, m.message_type, m.channel_msg),
                }
            }

            /// Length of the payload in bytes.
            pub(crate) fn payload_len(&self) -> usize {
                match self {
                    $(Self::$name(m) => m.get_size(),)*
                    Self::SubmitSharesExtended(m, user) => {
                        m.get_size() + user.as_deref().map_or(0, tlv::user_identity_len)
                    }
                    Self::Unknown(m) => m.payload.len(),
                }
            }

            /// Writes the payload to `out`, which is exactly [`Self::payload_len`] long.
            pub(crate) fn encode(self, out: &mut [u8]) -> Result<(), MessageError> {
                let name = self.name();
                let (extension_type, message_type, _) = self.kind();
                let length = out.len();
                let written = match self {
                    $(Self::$name(m) => binary_sv2::to_writer(m, out),)*
                    Self::SubmitSharesExtended(m, user) => {
                        encode_submit_shares_extended(m, user.as_deref(), out)
                    }
                    Self::Unknown(m) => {
                        out.copy_from_slice(&m.payload);
                        Ok(length)
                    }
                };
                let reason = match written {
                    Ok(written) if written == length => return Ok(()),
                    Ok(written) => format!("encoded to {written} bytes"),
                    Err(error) => error.to_string(),
                };
                Err(MessageError { name, extension_type, message_type, length, reason })
            }

            /// Reads the message of a frame. What follows the known fields are TLVs: those of extensions that were not
            /// negotiated must be ignored (specification 3.4.3), so no trailing byte is an error.
            pub(crate) fn decode(header: &Header, payload: &mut [u8]) -> Result<Self, MessageError> {
                let length = payload.len();
                let error = |name, reason: binary_sv2::Error| MessageError {
                    name,
                    extension_type: header.extension_type,
                    message_type: header.message_type,
                    length,
                    reason: reason.to_string(),
                };
                match (header.extension_type, header.message_type) {
                    // SRI's struct cannot hold a protocol that it does not know, but the client wants an answer.
                    (EXTENSION_CORE, SETUP_CONNECTION)
                        if payload.first().is_some_and(|&p| Protocol::try_from(p).is_err()) =>
                    {
                        Ok(Self::unknown(header, payload))
                    }
                    $(
                        ($extension, $kind) => {
                            <$wire>::from_bytes(payload)
                                .map(|m| Self::$name(m.into_owned()))
                                .map_err(|reason| error(stringify!($name), reason))
                        }
                    )*
                    (EXTENSION_CORE, 0x1b) => decode_submit_shares_extended(payload)
                        .map_err(|reason| error("SubmitSharesExtended", reason)),
                    _ => Ok(Self::unknown(header, payload)),
                }
            }

            fn unknown(header: &Header, payload: &[u8]) -> Self {
                Self::Unknown(Unknown {
                    extension_type: header.extension_type,
                    message_type: header.message_type,
                    channel_msg: header.channel_msg,
                    payload: payload.to_vec(),
                })
            }
        }
    };
}

messages! {
    SetupConnection: EXTENSION_CORE, 0x00, false, common::SetupConnection<'_>;
    SetupConnectionSuccess: EXTENSION_CORE, 0x01, false, common::SetupConnectionSuccess;
    SetupConnectionError: EXTENSION_CORE, 0x02, false, common::SetupConnectionError<'_>;
    ChannelEndpointChanged: EXTENSION_CORE, 0x03, true, common::ChannelEndpointChanged;
    Reconnect: EXTENSION_CORE, 0x04, false, common::Reconnect<'_>;

    OpenStandardMiningChannel: EXTENSION_CORE, 0x10, false, mining::OpenStandardMiningChannel<'_>;
    OpenStandardMiningChannelSuccess: EXTENSION_CORE, 0x11, false, mining::OpenStandardMiningChannelSuccess<'_>;
    OpenMiningChannelError: EXTENSION_CORE, 0x12, false, mining::OpenMiningChannelError<'_>;
    OpenExtendedMiningChannel: EXTENSION_CORE, 0x13, false, mining::OpenExtendedMiningChannel<'_>;
    OpenExtendedMiningChannelSuccess: EXTENSION_CORE, 0x14, false, mining::OpenExtendedMiningChannelSuccess<'_>;
    NewMiningJob: EXTENSION_CORE, 0x15, true, mining::NewMiningJob<'_>;
    UpdateChannel: EXTENSION_CORE, 0x16, true, mining::UpdateChannel<'_>;
    UpdateChannelError: EXTENSION_CORE, 0x17, true, mining::UpdateChannelError<'_>;
    CloseChannel: EXTENSION_CORE, 0x18, true, mining::CloseChannel<'_>;
    SetExtranoncePrefix: EXTENSION_CORE, 0x19, true, mining::SetExtranoncePrefix<'_>;
    SubmitSharesStandard: EXTENSION_CORE, 0x1a, true, mining::SubmitSharesStandard;
    SubmitSharesSuccess: EXTENSION_CORE, 0x1c, true, mining::SubmitSharesSuccess;
    SubmitSharesError: EXTENSION_CORE, 0x1d, true, mining::SubmitSharesError<'_>;
    NewExtendedMiningJob: EXTENSION_CORE, 0x1f, true, mining::NewExtendedMiningJob<'_>;
    SetNewPrevHash: EXTENSION_CORE, 0x20, true, mining::SetNewPrevHash<'_>;
    SetTarget: EXTENSION_CORE, 0x21, true, mining::SetTarget<'_>;
    SetCustomMiningJob: EXTENSION_CORE, 0x22, true, mining::SetCustomMiningJob<'_>;
    SetCustomMiningJobSuccess: EXTENSION_CORE, 0x23, true, mining::SetCustomMiningJobSuccess;
    SetCustomMiningJobError: EXTENSION_CORE, 0x24, true, mining::SetCustomMiningJobError<'_>;
    SetGroupChannel: EXTENSION_CORE, 0x25, false, mining::SetGroupChannel<'_>;

    CoinbaseOutputConstraints: EXTENSION_CORE, 0x70, false, template::CoinbaseOutputConstraints;
    NewTemplate: EXTENSION_CORE, 0x71, false, template::NewTemplate<'_>;
    TemplateSetNewPrevHash: EXTENSION_CORE, 0x72, false, template::SetNewPrevHash<'_>;
    RequestTransactionData: EXTENSION_CORE, 0x73, false, template::RequestTransactionData;
    RequestTransactionDataSuccess: EXTENSION_CORE, 0x74, false, template::RequestTransactionDataSuccess<'_>;
    RequestTransactionDataError: EXTENSION_CORE, 0x75, false, template::RequestTransactionDataError<'_>;
    SubmitSolution: EXTENSION_CORE, 0x76, false, template::SubmitSolution<'_>;

    RequestExtensions: EXTENSION_NEGOTIATION, 0x00, false, extensions::RequestExtensions<'_>;
    RequestExtensionsSuccess: EXTENSION_NEGOTIATION, 0x01, false, extensions::RequestExtensionsSuccess<'_>;
    RequestExtensionsError: EXTENSION_NEGOTIATION, 0x02, false, extensions::RequestExtensionsError<'_>;

    PresentCredential: EXTENSION_NODE_CREDENTIAL, 0x00, false, PresentCredential;
    PresentCredentialSuccess: EXTENSION_NODE_CREDENTIAL, 0x01, false, PresentCredentialSuccess;
    PresentCredentialError: EXTENSION_NODE_CREDENTIAL, 0x02, false, PresentCredentialError;
}

impl From<SubmitSharesExtended> for Message {
    fn from(message: SubmitSharesExtended) -> Self {
        Self::SubmitSharesExtended(message, None)
    }
}

impl From<Unknown> for Message {
    fn from(message: Unknown) -> Self {
        Self::Unknown(message)
    }
}

fn encode_submit_shares_extended(
    message: SubmitSharesExtended,
    user_identity: Option<&str>,
    out: &mut [u8],
) -> Result<usize, binary_sv2::Error> {
    let written = binary_sv2::to_writer(message, out)?;
    let Some(user_identity) = user_identity else {
        return Ok(written);
    };
    Ok(written + tlv::write_user_identity(user_identity, &mut out[written..]))
}

/// Reads the message that comes thousands of times a second without SRI's codec, which spends a microsecond and ten
/// allocations on it; what is malformed goes there all the same, for its error.
fn decode_submit_shares_extended(payload: &mut [u8]) -> Result<Message, binary_sv2::Error> {
    let (message, tail) = match read_submit_shares_extended(payload) {
        Some(read) => read,
        None => {
            let message = mining::SubmitSharesExtended::from_bytes(payload)?.into_owned();
            let size = message.get_size();
            (message, &payload[size..])
        }
    };
    let user_identity = tlv::find_user_identity(tail);
    Ok(Message::SubmitSharesExtended(message, user_identity))
}

/// The message at the start of `payload` and what follows it; none where it is malformed.
fn read_submit_shares_extended(payload: &[u8]) -> Option<(SubmitSharesExtended, &[u8])> {
    let (numbers, rest) = payload.split_first_chunk::<24>()?;
    let ([channel_id, sequence_number, job_id, nonce, ntime, version], []) = numbers.as_chunks()
    else {
        return None;
    };
    let (length, rest) = rest.split_first()?;
    let (extranonce, tail) = rest.split_at_checked(usize::from(*length))?;
    let message = SubmitSharesExtended {
        channel_id: u32::from_le_bytes(*channel_id),
        sequence_number: u32::from_le_bytes(*sequence_number),
        job_id: u32::from_le_bytes(*job_id),
        nonce: u32::from_le_bytes(*nonce),
        ntime: u32::from_le_bytes(*ntime),
        version: u32::from_le_bytes(*version),
        extranonce: extranonce.to_vec().try_into().ok()?,
    };
    Some((message, tail))
}

#[cfg(test)]
mod tests;
