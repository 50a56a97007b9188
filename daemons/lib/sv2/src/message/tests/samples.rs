//! One of every message, with the type and the channel bit that the specification gives it.

use stratum_core::{
    common_messages_sv2 as c, extensions_sv2 as e, mining_sv2 as m, template_distribution_sv2 as t,
};

use super::super::*;

fn hash(byte: u8) -> U256 {
    [byte; 32].into()
}

fn text(text: &str) -> Str0255 {
    text.try_into().unwrap()
}

fn bytes<T: TryFrom<Vec<u8>>>(length: usize) -> T
where
    T::Error: std::fmt::Debug,
{
    (0..length)
        .map(|i| i.to_le_bytes()[0])
        .collect::<Vec<u8>>()
        .try_into()
        .unwrap()
}

fn path() -> Seq0255<U256> {
    Seq0255::new(vec![hash(1), hash(2), hash(3)]).unwrap()
}

fn extensions_list() -> Seq064K<u16> {
    Seq064K::new(vec![2, 0x4001]).unwrap()
}

pub(super) fn common() -> Vec<(Message, u8, bool)> {
    let setup = SetupConnection {
        protocol: Protocol::TemplateDistributionProtocol,
        min_version: 2,
        max_version: 2,
        flags: 5,
        endpoint_host: text("pool.example"),
        endpoint_port: 34_254,
        vendor: text("vendor"),
        hardware_version: text("model"),
        firmware: text("1.0"),
        device_id: text(""),
    };
    let success = SetupConnectionSuccess {
        used_version: 2,
        flags: 1,
    };
    let error = SetupConnectionError {
        flags: 2,
        error_code: text("unsupported-feature-flags"),
    };
    let reconnect = Reconnect {
        new_host: text("b.example"),
        new_port: 1,
    };
    vec![
        (
            setup.into(),
            c::MESSAGE_TYPE_SETUP_CONNECTION,
            c::CHANNEL_BIT_SETUP_CONNECTION,
        ),
        (
            success.into(),
            c::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
            c::CHANNEL_BIT_SETUP_CONNECTION_SUCCESS,
        ),
        (
            error.into(),
            c::MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
            c::CHANNEL_BIT_SETUP_CONNECTION_ERROR,
        ),
        (
            ChannelEndpointChanged { channel_id: 9 }.into(),
            c::MESSAGE_TYPE_CHANNEL_ENDPOINT_CHANGED,
            c::CHANNEL_BIT_CHANNEL_ENDPOINT_CHANGED,
        ),
        (
            reconnect.into(),
            c::MESSAGE_TYPE_RECONNECT,
            c::CHANNEL_BIT_RECONNECT,
        ),
    ]
}

fn opening() -> Vec<(Message, u8, bool)> {
    let standard = OpenStandardMiningChannel {
        request_id: 1,
        user_identity: text("alice.rig1"),
        nominal_hash_rate: 3e5,
        max_target: hash(0xff),
    };
    let standard_success = OpenStandardMiningChannelSuccess {
        request_id: 1,
        channel_id: 2,
        target: hash(7),
        extranonce_prefix: bytes(20),
        group_channel_id: 3,
    };
    let error = OpenMiningChannelError {
        request_id: 1,
        error_code: text("unknown-user"),
    };
    let extended = OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: text("bob"),
        nominal_hash_rate: 1e12,
        max_target: hash(0xff),
        min_extranonce_size: 8,
    };
    let extended_success = OpenExtendedMiningChannelSuccess {
        request_id: 1,
        channel_id: 2,
        target: hash(7),
        extranonce_size: 8,
        extranonce_prefix: bytes(12),
        group_channel_id: 0,
    };
    vec![
        (
            standard.into(),
            m::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL,
            m::CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL,
        ),
        (
            standard_success.into(),
            m::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
            m::CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
        ),
        (
            error.into(),
            m::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR,
            m::CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR,
        ),
        (
            extended.into(),
            m::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
            m::CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL,
        ),
        (
            extended_success.into(),
            m::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
            m::CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
        ),
    ]
}

fn channels() -> Vec<(Message, u8, bool)> {
    let update = UpdateChannel {
        channel_id: 1,
        nominal_hash_rate: 2.0,
        maximum_target: hash(3),
    };
    let update_error = UpdateChannelError {
        channel_id: 1,
        error_code: text("invalid-channel-id"),
    };
    let close = CloseChannel {
        channel_id: 1,
        reason_code: text("bye"),
    };
    let prefix = SetExtranoncePrefix {
        channel_id: 1,
        extranonce_prefix: bytes(32),
    };
    let target = SetTarget {
        channel_id: 1,
        maximum_target: hash(9),
    };
    let group = SetGroupChannel {
        group_channel_id: 1,
        channel_ids: Seq064K::new(vec![1, 2, 3]).unwrap(),
    };
    vec![
        (
            update.into(),
            m::MESSAGE_TYPE_UPDATE_CHANNEL,
            m::CHANNEL_BIT_UPDATE_CHANNEL,
        ),
        (
            update_error.into(),
            m::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR,
            m::CHANNEL_BIT_UPDATE_CHANNEL_ERROR,
        ),
        (
            close.into(),
            m::MESSAGE_TYPE_CLOSE_CHANNEL,
            m::CHANNEL_BIT_CLOSE_CHANNEL,
        ),
        (
            prefix.into(),
            m::MESSAGE_TYPE_SET_EXTRANONCE_PREFIX,
            m::CHANNEL_BIT_SET_EXTRANONCE_PREFIX,
        ),
        (
            target.into(),
            m::MESSAGE_TYPE_SET_TARGET,
            m::CHANNEL_BIT_SET_TARGET,
        ),
        (
            group.into(),
            m::MESSAGE_TYPE_SET_GROUP_CHANNEL,
            m::CHANNEL_BIT_SET_GROUP_CHANNEL,
        ),
    ]
}

fn jobs() -> Vec<(Message, u8, bool)> {
    let job = NewMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: Sv2Option::new(None),
        version: 0x2000_0000,
        merkle_root: hash(4),
    };
    let extended = NewExtendedMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: Sv2Option::new(Some(77)),
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: path(),
        coinbase_tx_prefix: bytes(100),
        coinbase_tx_suffix: bytes(60_000),
    };
    let prev_hash = SetNewPrevHash {
        channel_id: 1,
        job_id: 2,
        prev_hash: hash(5),
        min_ntime: 6,
        nbits: 7,
    };
    vec![
        (
            job.into(),
            m::MESSAGE_TYPE_NEW_MINING_JOB,
            m::CHANNEL_BIT_NEW_MINING_JOB,
        ),
        (
            extended.into(),
            m::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB,
            m::CHANNEL_BIT_NEW_EXTENDED_MINING_JOB,
        ),
        (
            prev_hash.into(),
            m::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
            m::CHANNEL_BIT_MINING_SET_NEW_PREV_HASH,
        ),
    ]
}

fn custom_jobs() -> Vec<(Message, u8, bool)> {
    let job = SetCustomMiningJob {
        channel_id: 1,
        request_id: 2,
        token: bytes(8),
        version: 3,
        prev_hash: hash(4),
        min_ntime: 5,
        nbits: 6,
        coinbase_tx_version: 2,
        coinbase_prefix: bytes(4),
        coinbase_tx_input_n_sequence: 7,
        coinbase_tx_outputs: bytes(65_535),
        coinbase_tx_locktime: 0,
        merkle_path: path(),
    };
    let success = SetCustomMiningJobSuccess {
        channel_id: 1,
        request_id: 2,
        job_id: 3,
    };
    let error = SetCustomMiningJobError {
        channel_id: 1,
        request_id: 2,
        error_code: text("jd-not-supported"),
    };
    vec![
        (
            job.into(),
            m::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB,
            m::CHANNEL_BIT_SET_CUSTOM_MINING_JOB,
        ),
        (
            success.into(),
            m::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_SUCCESS,
            m::CHANNEL_BIT_SET_CUSTOM_MINING_JOB_SUCCESS,
        ),
        (
            error.into(),
            m::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR,
            m::CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR,
        ),
    ]
}

pub(super) fn extended_share() -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: bytes(8),
    }
}

fn shares() -> Vec<(Message, u8, bool)> {
    let standard = SubmitSharesStandard {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
    };
    let success = SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: 2,
        new_submits_accepted_count: 3,
        new_shares_sum: 1 << 40,
    };
    let error = SubmitSharesError {
        channel_id: 1,
        sequence_number: 2,
        error_code: text("stale-share"),
    };
    let (kind, bit) = (
        m::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED,
        m::CHANNEL_BIT_SUBMIT_SHARES_EXTENDED,
    );
    vec![
        (
            standard.into(),
            m::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD,
            m::CHANNEL_BIT_SUBMIT_SHARES_STANDARD,
        ),
        (extended_share().into(), kind, bit),
        (
            Message::SubmitSharesExtended(extended_share(), Some("rig1".into())),
            kind,
            bit,
        ),
        (
            success.into(),
            m::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS,
            m::CHANNEL_BIT_SUBMIT_SHARES_SUCCESS,
        ),
        (
            error.into(),
            m::MESSAGE_TYPE_SUBMIT_SHARES_ERROR,
            m::CHANNEL_BIT_SUBMIT_SHARES_ERROR,
        ),
    ]
}

fn templates() -> Vec<(Message, u8, bool)> {
    let constraints = CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 100,
        coinbase_output_max_additional_sigops: 4,
    };
    let template = NewTemplate {
        template_id: 1,
        future_template: true,
        version: 2,
        coinbase_tx_version: 2,
        coinbase_prefix: bytes(5),
        coinbase_tx_input_sequence: 3,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: bytes(47),
        coinbase_tx_locktime: 100,
        merkle_path: path(),
    };
    let prev_hash = TemplateSetNewPrevHash {
        template_id: 1,
        prev_hash: hash(2),
        header_timestamp: 3,
        n_bits: 4,
        target: hash(5),
    };
    let solution = SubmitSolution {
        template_id: 1,
        version: 2,
        header_timestamp: 3,
        header_nonce: 4,
        coinbase_tx: bytes(300),
    };
    vec![
        (
            constraints.into(),
            t::MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS,
            t::CHANNEL_BIT_COINBASE_OUTPUT_CONSTRAINTS,
        ),
        (
            template.into(),
            t::MESSAGE_TYPE_NEW_TEMPLATE,
            t::CHANNEL_BIT_NEW_TEMPLATE,
        ),
        (
            prev_hash.into(),
            t::MESSAGE_TYPE_SET_NEW_PREV_HASH,
            t::CHANNEL_BIT_SET_NEW_PREV_HASH,
        ),
        (
            solution.into(),
            t::MESSAGE_TYPE_SUBMIT_SOLUTION,
            t::CHANNEL_BIT_SUBMIT_SOLUTION,
        ),
    ]
}

fn transaction_data() -> Vec<(Message, u8, bool)> {
    let success = RequestTransactionDataSuccess {
        template_id: 1,
        excess_data: bytes(32),
        transaction_list: Seq064K::new(vec![bytes(250), bytes(70_000)]).unwrap(),
    };
    let error = RequestTransactionDataError {
        template_id: 1,
        error_code: text("stale-template-id"),
    };
    vec![
        (
            RequestTransactionData { template_id: 1 }.into(),
            t::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA,
            t::CHANNEL_BIT_REQUEST_TRANSACTION_DATA,
        ),
        (
            success.into(),
            t::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS,
            t::CHANNEL_BIT_REQUEST_TRANSACTION_DATA_SUCCESS,
        ),
        (
            error.into(),
            t::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_ERROR,
            t::CHANNEL_BIT_REQUEST_TRANSACTION_DATA_ERROR,
        ),
    ]
}

fn negotiation() -> Vec<(Message, u8, bool)> {
    let request = RequestExtensions {
        request_id: 1,
        requested_extensions: extensions_list(),
    };
    let success = RequestExtensionsSuccess {
        request_id: 1,
        supported_extensions: extensions_list(),
    };
    let error = RequestExtensionsError {
        request_id: 1,
        unsupported_extensions: extensions_list(),
        required_extensions: extensions_list(),
    };
    vec![
        (
            request.into(),
            e::MESSAGE_TYPE_REQUEST_EXTENSIONS,
            e::CHANNEL_BIT_REQUEST_EXTENSIONS,
        ),
        (
            success.into(),
            e::MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS,
            e::CHANNEL_BIT_REQUEST_EXTENSIONS_SUCCESS,
        ),
        (
            error.into(),
            e::MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR,
            e::CHANNEL_BIT_REQUEST_EXTENSIONS_ERROR,
        ),
    ]
}

/// Ours: there is no reference to compare with.
fn credentials() -> Vec<(Message, u8, bool)> {
    let present = PresentCredential {
        credential: b"header.claims.signature".to_vec().try_into().unwrap(),
        lane: "asics".try_into().unwrap(),
    };
    let error = PresentCredentialError {
        error_code: "expired".try_into().unwrap(),
    };
    vec![
        (present.into(), 0x00, false),
        (PresentCredentialSuccess {}.into(), 0x01, false),
        (error.into(), 0x02, false),
    ]
}

/// One of each message, with SRI's constants for its type and `channel_msg` bit.
pub(super) fn all() -> Vec<(Message, u8, bool)> {
    [
        common(),
        opening(),
        channels(),
        jobs(),
        custom_jobs(),
        shares(),
        templates(),
        transaction_data(),
        negotiation(),
        credentials(),
    ]
    .concat()
}
