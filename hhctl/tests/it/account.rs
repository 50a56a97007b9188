//! Accounts: what they have, whose they are, where they are paid.

use crate::changes::check_not_confirmed;
use crate::commands::check;
use crate::daemons::{Answers, Devnet};
use crate::lightning::INVOICE;
use crate::operator::Operator;
use hh_ipc::api::treasury::DestinationKind;
use hhctl::Exit;
use insta::assert_snapshot;

#[tokio::test]
async fn accounts_are_listed_and_shown_with_what_they_have() {
    check("account_list", "hhctl account list").await;
    check("account_show", "hhctl account show alice").await;
    check("account_statement", "hhctl account statement alice").await;
    check(
        "payout_address_show",
        "hhctl account payout-address show alice",
    )
    .await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    for (line, expected) in [
        ("list --prefix node: --no-headers", "node:berlin-1"),
        ("list --limit 2", "--after miner:bob"),
        ("statement alice --limit 1", "--before 1201"),
        ("show reserve:node-network", "approved distribution only"),
        ("payout-address show bob", "nowhere yet"),
    ] {
        let outcome = operator.types(&format!("hhctl account {line}")).await;
        assert!(outcome.stdout.contains(expected), "{line}: {outcome:?}");
    }
    let nobody = operator.types("hhctl account show zoe").await;
    assert_eq!(nobody.exit, Exit::NotFound);
    assert!(nobody.stderr.contains("miner:zoe"), "{nobody:?}");
    let wrong = operator.types("hhctl account show lane:main").await;
    assert_eq!(wrong.exit, Exit::Usage);
}

#[tokio::test]
async fn a_name_is_made_with_a_token_that_is_shown_once() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let made = operator.types("hhctl account create zoe").await;
    assert_snapshot!("account_create", made.transcript());
    let key = "ab".repeat(32);
    let line = format!("hhctl account create zoe --owner-key {key} -o json");
    assert_snapshot!("account_create_json", operator.types(&line).await.stdout);
    assert_eq!(devnet.changes(), ["create miner:zoe"; 2]);
    let short = "hhctl account create zoe --owner-key abcd";
    assert_eq!(operator.types(short).await.exit, Exit::Usage);
}

#[tokio::test]
async fn a_name_is_claimed_with_the_token_of_a_file() {
    let devnet = Devnet::start(Answers::good());
    let file = devnet.path().join("token");
    let line = format!(
        "hhctl account claim bob --token-file {} --owner-key {}",
        file.display(),
        "ab".repeat(32)
    );
    let operator = Operator::at(&devnet);
    let missing = operator.types(&format!("{line} -y")).await;
    assert_eq!(missing.exit, Exit::Failed);
    std::fs::write(&file, "wrong\n").unwrap();
    let wrong = operator.types(&format!("{line} -y")).await;
    assert_eq!(wrong.exit, Exit::Permission, "{wrong:?}");
    std::fs::write(&file, "hhclaim-7f3c2a\n").unwrap();
    let asked = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    check_not_confirmed(&devnet, &asked);
    let claimed = operator.types(&format!("{line} -y")).await;
    assert!(claimed.stdout.contains("proven"), "{claimed:?}");
    assert_eq!(devnet.changes(), ["claim miner:bob"]);
}

#[tokio::test]
async fn a_destination_is_set_after_a_question_and_shows_when_it_counts() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl account payout-address set alice alice@new.example --seq 4 --until 1764200000 --signature 4f1c";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("payout_address_set_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let operator = Operator::at(&devnet);
    // Before there is a signature the text for it is wanted.
    let unsigned = line.replace(" --signature 4f1c", "");
    let shown = operator.types(&format!("{unsigned} --dry-run")).await;
    assert_snapshot!("payout_address_set_unsigned", shown.transcript());
    assert_eq!(operator.types(&unsigned).await.exit, Exit::Usage);
    let set = operator.types(&format!("{line} -y")).await;
    assert_snapshot!("payout_address_set", set.transcript());
    let offer = line.replace("alice@new.example", "lno1qcp4256ypq");
    assert_eq!(
        operator.types(&format!("{offer} -y")).await.exit,
        Exit::Done
    );
    assert_eq!(
        devnet.changes(),
        [
            "LightningAddress alice@new.example for miner:alice",
            "Bolt12Offer lno1qcp4256ypq for miner:alice"
        ]
    );
}

#[tokio::test]
async fn another_owner_and_a_cancelled_destination_take_the_name_of_the_context() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let key = "ab".repeat(32);
    for (name, line, change) in [
        (
            "account_replace_owner",
            format!("hhctl account replace-owner bob --owner-key {key} --reason lost"),
            "replace the key of miner:bob for lost",
        ),
        (
            "payout_address_cancel",
            "hhctl account payout-address cancel alice --seq 3 --reason stolen".to_owned(),
            "cancel no. 3 of miner:alice for stolen",
        ),
    ] {
        let asked = Operator::at(&devnet).who_answers("y\n").types(&line).await;
        assert_snapshot!(format!("{name}_refused"), asked.transcript());
        check_not_confirmed(&devnet, &asked);
        let done = operator.types(&format!("{line} --confirm devnet")).await;
        assert_snapshot!(name, done.transcript());
        assert_eq!(devnet.changes(), [change]);
    }
}

#[tokio::test]
async fn an_account_is_drawn_from_by_an_invoice_that_its_drawing_key_signed_for() {
    let mut answers = Answers::good();
    let key = "ab".repeat(32);
    let alice = &mut answers.treasury.accounts[0];
    let drawing = alice.destination.as_mut().expect("she has one");
    drawing.kind = DestinationKind::DrawingKey;
    drawing.text.clone_from(&key);
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let line = format!("hhctl account draw alice {INVOICE}");
    // Before there is a signature the text for it is wanted; of whatever spelling the invoice is.
    let shouted = format!(
        "hhctl account draw alice {} --dry-run",
        INVOICE.to_uppercase()
    );
    assert_snapshot!(
        "account_draw_unsigned",
        operator.types(&shouted).await.transcript()
    );
    assert_eq!(operator.types(&line).await.exit, Exit::Usage);
    let line = format!("{line} --signature 4f1c");
    let asked = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    check_not_confirmed(&devnet, &asked);
    let drawn = operator.types(&format!("{line} -y")).await;
    assert_snapshot!("account_draw", drawn.transcript());
    assert_eq!(devnet.changes(), ["draw miner:alice by 4f1c"]);
    let wrong = "hhctl account draw alice lnbc1 --signature 4f1c -y";
    assert_eq!(operator.types(wrong).await.exit, Exit::Usage);
    // A key is a destination like others.
    let set = format!(
        "hhctl account payout-address set bob {key} --seq 1 --until 1764200000 --signature 4f1c -y"
    );
    assert_eq!(operator.types(&set).await.exit, Exit::Done);
    assert_eq!(
        devnet.changes(),
        [format!("DrawingKey {key} for miner:bob")]
    );
}
