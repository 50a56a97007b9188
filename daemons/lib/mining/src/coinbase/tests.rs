use bitcoin::hashes::Hash;
use bitcoin::{PubkeyHash, ScriptHash, WPubkeyHash, WScriptHash};
use proptest::prelude::*;

use super::*;
use crate::CoinbaseRecipe;

fn recipe(tag: &[u8]) -> CoinbaseRecipe {
    CoinbaseRecipe {
        reward_script: ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([1; 20])),
        tag: tag.to_vec(),
    }
}

fn template(prefix: &[u8], remaining: u64, own: &[TxOut]) -> Template {
    let outputs = own.iter().flat_map(bitcoin::consensus::serialize);
    Template {
        template_id: 42,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: prefix.to_vec(),
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: remaining,
        coinbase_tx_outputs_count: u32::try_from(own.len()).unwrap(),
        coinbase_tx_outputs: outputs.collect(),
        coinbase_tx_locktime: 839_999,
        merkle_path: Vec::new(),
    }
}

fn commitment() -> TxOut {
    let script = [&WITNESS_COMMITMENT[..], &[9; 32]].concat();
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(script),
    }
}

#[test]
fn a_coinbase_is_taken_apart_into_what_it_was_made_of() {
    let template = template(&[3, 0x40, 0xd1, 0x0c], 312_500_000, &[commitment()]);
    let recipe = recipe(b"/Hyper Hash/");
    let job = Job::build(&template, &recipe).unwrap();
    let coinbase = Coinbase::parse(&job).unwrap();
    let parts = [
        ScriptSigPart::Height(840_000, vec![0x40, 0xd1, 0x0c]),
        ScriptSigPart::Push(b"/Hyper Hash/".to_vec()),
        ScriptSigPart::Extranonce(16),
    ];
    assert_eq!(coinbase.script_sig, parts);
    assert_eq!(coinbase.script_sig_size, 4 + 13 + 17);
    assert_eq!(coinbase.outputs.len(), 2);
    assert_eq!(coinbase.outputs[0].script_pubkey, recipe.reward_script);
    assert_eq!(coinbase.outputs[1], commitment());
    assert_eq!(coinbase.value, Amount::from_sat(312_500_000));
    assert_eq!((coinbase.version, coinbase.sequence), (2, 0xffff_fffe));
    assert_eq!(coinbase.locktime, 839_999);
    // Each byte but those of the witness (BIP141) counts for four.
    let stripped = job.coinbase_tx_prefix().len() + 16 + job.coinbase_tx_suffix().len();
    let weight = u64::try_from(4 * stripped + 2 + 34).unwrap();
    assert_eq!(coinbase.weight.to_wu(), weight);
}

#[test]
fn a_low_height_is_an_opcode_and_read_all_the_same() {
    let template = template(&[0x51], 1, &[]);
    let job = Job::build(&template, &recipe(b"")).unwrap();
    let parts = Coinbase::parse(&job).unwrap().script_sig;
    let expected = [
        ScriptSigPart::Height(1, vec![0x51]),
        ScriptSigPart::Extranonce(16),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn scripts_are_named_for_what_they_ask() {
    let key = [2; 32];
    let p2tr = [&[0x51, 0x20][..], &key].concat();
    let p2pk = [&[33, 2][..], &key, &[0xac]].concat();
    let cases = [
        (ScriptBuf::from_bytes(p2pk), "p2pk"),
        (
            ScriptBuf::new_p2pkh(&PubkeyHash::from_byte_array([1; 20])),
            "p2pkh",
        ),
        (
            ScriptBuf::new_p2sh(&ScriptHash::from_byte_array([1; 20])),
            "p2sh",
        ),
        (recipe(b"").reward_script, "p2wpkh"),
        (
            ScriptBuf::new_p2wsh(&WScriptHash::from_byte_array([1; 32])),
            "p2wsh",
        ),
        (ScriptBuf::from_bytes(p2tr), "p2tr"),
        (commitment().script_pubkey, "witness_commitment"),
        (ScriptBuf::from_bytes(vec![0x6a, 1, 7]), "op_return"),
        (ScriptBuf::from_bytes(vec![0x51]), "other"),
    ];
    for (script, name) in cases {
        assert_eq!(ScriptKind::of(&script).name(), name, "{script}");
    }
}

#[test]
fn an_address_is_one_of_the_chain() {
    let script = recipe(b"").reward_script;
    let main = address(&script, Network::Bitcoin).unwrap();
    assert!(main.starts_with("bc1q"), "{main}");
    let regtest = address(&script, Network::Regtest).unwrap();
    assert!(regtest.starts_with("bcrt1q"), "{regtest}");
    assert_eq!(address(&commitment().script_pubkey, Network::Bitcoin), None);
}

proptest! {
    #[test]
    fn whatever_the_template_the_outputs_sum_to_its_value(
        remaining in 0..2_000_000_000_u64,
        own in prop::collection::vec((0..1_000_000_u64, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
        tag in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let output = |(value, script): &(u64, Vec<u8>)| TxOut {
            value: Amount::from_sat(*value),
            script_pubkey: ScriptBuf::from_bytes(script.clone()),
        };
        let own: Vec<TxOut> = own.iter().map(output).collect();
        let template = template(&[3, 0x40, 0xd1, 0x0c], remaining, &own);
        let job = Job::build(&template, &recipe(&tag)).unwrap();
        let coinbase = Coinbase::parse(&job).unwrap();
        prop_assert_eq!(coinbase.value, template_value(&template).unwrap());
        prop_assert_eq!(&coinbase.outputs[1..], own);
        prop_assert_eq!(coinbase.script_sig.last(), Some(&ScriptSigPart::Extranonce(16)));
    }
}
