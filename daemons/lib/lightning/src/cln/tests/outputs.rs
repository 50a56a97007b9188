//! What Core Lightning has on the chain, and what it has sent there.

use super::*;
use crate::WalletTransaction;

fn output(txid: u8, status: &str, height: Option<u32>) -> Value {
    let mut output = json!({
        "txid": hex::encode([txid; 32]), "output": 1, "amount_msat": 70_000_000,
        "scriptpubkey": "0014".to_owned() + &"11".repeat(20), "status": status, "reserved": false,
    });
    if let Some(height) = height {
        output["blockheight"] = json!(height);
    }
    output
}

#[tokio::test]
async fn its_outputs_are_those_that_are_not_spent() {
    let (fake, wallet) = start().await;
    let outputs = [
        output(1, "unconfirmed", None),
        output(2, "confirmed", Some(121)),
        output(3, "spent", Some(120)),
        output(4, "immature", Some(122)),
    ];
    let funds = json!({ "outputs": outputs, "channels": [] });
    fake.always("listfunds", Reply::Result(funds));
    assert_eq!(wallet.capabilities().lists_outputs, Ok(()));
    let outputs = wallet.outputs().await.unwrap();
    let seen: Vec<_> = outputs
        .iter()
        .map(|output| (output.height, output.is_immature))
        .collect();
    assert_eq!(seen, [(None, false), (Some(121), false), (Some(122), true)]);
    assert_eq!(outputs[0].amount, Amount::from_sat(70_000));
}

#[tokio::test]
async fn what_a_transaction_spends_that_is_in_no_block_is_not_listed_beside_its_change() {
    let (fake, wallet) = start().await;
    let mut spent = output(1, "confirmed", Some(121));
    spent["reserved"] = json!(true);
    let change = output(2, "unconfirmed", None);
    let funds = json!({ "outputs": [spent, change], "channels": [] });
    fake.always("listfunds", Reply::Result(funds));
    let of_change = "02".repeat(32);
    fake.transactions(&[transaction(&of_change, 0, &[("01".repeat(32), 1)], &[9])]);
    let outputs = wallet.outputs().await.unwrap();
    let txids: Vec<String> = outputs
        .iter()
        .map(|output| output.outpoint.txid.to_string())
        .collect();
    assert_eq!(txids, [of_change]);
}

#[tokio::test]
async fn its_transactions_are_those_of_newer_blocks_and_of_none() {
    let (fake, wallet) = start().await;
    let transaction = |name: u8, blockheight: u32| {
        json!({
            "hash": hex::encode([name; 32]), "blockheight": blockheight, "txindex": 0, "rawtx": "", "locktime": 0,
            "version": 2, "inputs": [], "outputs": [],
        })
    };
    let transactions = [transaction(1, 0), transaction(2, 99), transaction(3, 100)];
    let answer = json!({ "transactions": transactions });
    fake.always("listtransactions", Reply::Result(answer));
    let found = wallet.transactions(100).await.unwrap();
    let expected = |name: u8, height| WalletTransaction {
        txid: hex::encode([name; 32]).parse().unwrap(),
        height,
    };
    assert_eq!(found, [expected(1, None), expected(3, Some(100))]);
}

#[tokio::test]
async fn fees_of_a_channel_are_set_by_its_id() {
    let (fake, wallet) = start().await;
    fake.always("setchannel", Reply::Result(json!({ "channels": [] })));
    let fees = |id: &str| crate::ChannelFees {
        id: id.parse().unwrap(),
        base_msat: 1_000,
        ppm: 200,
    };
    wallet.set_fees(&fees(CHANNEL)).await.unwrap();
    let asked = fake.last("setchannel");
    assert_eq!(
        (&asked["id"], &asked["feeppm"]),
        (&json!(CHANNEL), &json!(200))
    );
    let unknown = wallet.set_fees(&fees(&"22".repeat(32))).await;
    assert!(
        matches!(unknown, Err(WalletError::UnknownChannel { .. })),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn what_the_chain_can_not_be_paid_is_refused_and_all_else_unknown() {
    let request = SendOnChain {
        address: ADDRESS.parse::<Address<_>>().unwrap().assume_checked(),
        amount: Amount::from_sat(1_000),
        fee_rate: None,
    };
    for (code, is_refused) in [
        (301, true),
        (302, true),
        (313, true),
        (-1, false),
        (-32_602, false),
    ] {
        let (fake, wallet) = start().await;
        fake.always("withdraw", Reply::Error(code, "no"));
        let error = wallet.send_on_chain(&request).await.unwrap_err();
        assert_eq!(
            matches!(error, PayError::Refused(_)),
            is_refused,
            "{code}: {error}"
        );
    }
    let (fake, wallet) = start().await;
    std::fs::remove_file(fake.socket()).unwrap();
    let error = wallet.send_on_chain(&request).await.unwrap_err();
    let is_not_taken = matches!(error, PayError::Refused(Refusal::NotTaken(_)));
    assert!(is_not_taken, "{error}");
}
