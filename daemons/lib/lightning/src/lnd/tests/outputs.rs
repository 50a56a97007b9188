//! What lnd has on the chain, and what it has sent there.

use bitcoin::hashes::Hash;

use super::*;
use crate::lnd::message::onchain::{ListUnspentRequest, ListUnspentResponse, OutPoint, Utxo};
use crate::{SendOnChain, WalletTransaction};

fn utxo(txid: u8, confirmations: i64) -> Utxo {
    Utxo {
        amount_sat: 70_000,
        pk_script: "0014".to_owned() + &"11".repeat(20),
        outpoint: Some(OutPoint {
            txid_str: hex::encode([txid; 32]),
            output_index: 1,
        }),
        confirmations,
    }
}

#[tokio::test]
async fn its_outputs_have_the_height_of_their_block() {
    let (fake, wallet) = start().await;
    let utxos = vec![utxo(1, 0), utxo(2, 3)];
    let answer = ListUnspentResponse { utxos };
    fake.always(path::LIST_UNSPENT, Reply::one(&answer));
    assert_eq!(wallet.capabilities().lists_outputs, Ok(()));
    let outputs = wallet.outputs().await.unwrap();
    let asked: ListUnspentRequest = fake.last(path::LIST_UNSPENT);
    assert_eq!((asked.min_confs, asked.max_confs), (0, i32::MAX));
    // The tip is 123.
    let heights: Vec<_> = outputs.iter().map(|output| output.height).collect();
    assert_eq!(heights, [None, Some(121)]);
    assert_eq!(outputs[0].amount, Amount::from_sat(70_000));
    assert_eq!(outputs[0].outpoint.vout, 1);
    assert!(outputs[0].script.is_p2wpkh());
}

#[tokio::test]
async fn what_was_sent_is_among_its_transactions() {
    let (fake, wallet) = start().await;
    let txid = hex::encode([7; 32]);
    let sent = message::SendCoinsResponse { txid: txid.clone() };
    fake.always(path::SEND_COINS, Reply::one(&sent));
    let transaction = |block_height| message::Transaction {
        tx_hash: txid.clone(),
        block_height,
        ..message::Transaction::default()
    };
    let answer = message::TransactionDetails {
        transactions: vec![transaction(0), transaction(120)],
    };
    fake.always(path::GET_TRANSACTIONS, Reply::one(&answer));
    let address = wallet_address();
    let request = SendOnChain {
        address,
        amount: Amount::from_sat(50_000),
        fee_rate: bitcoin::FeeRate::from_sat_per_vb(3),
    };
    let sent = wallet.send_on_chain(&request).await.unwrap();
    let asked: message::SendCoinsRequest = fake.last(path::SEND_COINS);
    assert_eq!((asked.amount, asked.sat_per_vbyte), (50_000, 3));
    let found = wallet.transactions(100).await.unwrap();
    let asked: message::GetTransactionsRequest = fake.last(path::GET_TRANSACTIONS);
    assert_eq!((asked.start_height, asked.end_height), (100, -1));
    let expected = |height| WalletTransaction { txid: sent, height };
    assert_eq!(found, [expected(None), expected(Some(120))]);
}

fn wallet_address() -> bitcoin::Address {
    let script = bitcoin::ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([1; 20]));
    bitcoin::Address::from_script(&script, Network::Regtest).unwrap()
}

#[tokio::test]
async fn fees_of_a_channel_are_set_with_the_delay_that_it_has() {
    use crate::lnd::message::policy::{
        ChannelPolicies, FailedUpdate, PolicyUpdateRequest, PolicyUpdateResponse, RoutingPolicy,
    };
    let (fake, wallet) = start().await;
    let policies = ChannelPolicies {
        node1_pub: node(7).to_string(),
        node1_policy: Some(RoutingPolicy {
            time_lock_delta: 40,
        }),
        node2_policy: Some(RoutingPolicy {
            time_lock_delta: 80,
        }),
    };
    fake.always(path::GET_CHAN_INFO, Reply::one(&policies));
    let done = PolicyUpdateResponse::default();
    fake.always(path::UPDATE_POLICY, Reply::one(&done));
    let fees = crate::ChannelFees {
        id: channel_id(),
        base_msat: 1_000,
        ppm: 200,
    };
    wallet.set_fees(&fees).await.unwrap();
    let asked: PolicyUpdateRequest = fake.last(path::UPDATE_POLICY);
    let set = (
        asked.base_fee_msat,
        asked.fee_rate_ppm,
        asked.time_lock_delta,
    );
    assert_eq!(set, (1_000, 200, 80), "ours is node 2");
    assert_eq!(asked.chan_point.unwrap().output_index, 1);
    let failed = PolicyUpdateResponse {
        failed_updates: vec![FailedUpdate {
            update_error: "not yet".to_owned(),
        }],
    };
    fake.always(path::UPDATE_POLICY, Reply::one(&failed));
    let refused = wallet.set_fees(&fees).await.unwrap_err();
    assert!(refused.to_string().contains("not yet"), "{refused}");
}
