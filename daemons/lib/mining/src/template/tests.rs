use bitcoin::script::Builder;
use proptest::prelude::*;

use super::*;

fn template(coinbase_prefix: Vec<u8>) -> Template {
    Template {
        template_id: 1,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix,
        coinbase_tx_input_sequence: 0,
        coinbase_tx_value_remaining: 0,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: vec![],
        coinbase_tx_locktime: 0,
        merkle_path: vec![],
    }
}

#[test]
fn a_prefix_without_a_height_has_none() {
    for prefix in [vec![], vec![3, 1, 2], vec![5, 1, 2, 3, 4, 5], vec![0x6a]] {
        assert_eq!(template(prefix).height(), None);
    }
}

#[test]
fn a_tip_has_the_target_of_its_nbits() {
    let tip = Tip::new([1; 32], 1_700_000_000, 0x1d00_ffff).unwrap();
    assert_eq!(tip.target, Target::from_difficulty(1.0));
    assert_eq!(
        Tip::new([1; 32], 1_700_000_000, 0),
        Err(CompactError::Zero(0))
    );
}

proptest! {
    #[test]
    fn the_height_is_the_number_that_the_prefix_pushes(
        height in prop_oneof![0_u32..300, 0_u32..=0x7fff_ffff], padding in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut prefix = Builder::new().push_int(i64::from(height)).into_bytes();
        prefix.extend(padding);
        prop_assert_eq!(template(prefix).height(), Some(height));
    }
}
