use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn a_prefix_is_server_id_and_channel_index_in_big_endian() {
    let mut allocator = PrefixAllocator::new(ServerId(0x0102), 0x0304_0506_0708);
    let prefix = allocator.allocate().unwrap();
    assert_eq!(prefix.to_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(prefix.server_id(), ServerId(0x0102));
    assert_eq!(prefix.channel_index(), 0x0304_0506_0708);
    assert_eq!(prefix.to_string(), "0102030405060708");
    assert_eq!(
        allocator.allocate().unwrap().to_bytes(),
        [1, 2, 3, 4, 5, 6, 7, 9]
    );
}

#[test]
fn a_standard_channel_has_the_prefix_and_zeros() {
    let prefix = ExtranoncePrefix::from_bytes([9; 8]);
    let extranonce = prefix.standard_extranonce();
    assert_eq!(
        extranonce.as_bytes(),
        &[9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(extranonce.prefix(), prefix);
}

#[test]
fn the_last_prefix_is_given_out_once_and_then_none() {
    let mut allocator = PrefixAllocator::new(ServerId(7), CHANNEL_INDICES - 1);
    let last = allocator.allocate().unwrap();
    assert_eq!(last.to_bytes(), [0, 7, 255, 255, 255, 255, 255, 255]);
    let exhausted = PrefixesExhausted {
        server_id: ServerId(7),
    };
    assert_eq!(allocator.allocate(), Err(exhausted));
    assert_eq!(allocator.allocate(), Err(exhausted));
    assert_eq!(
        PrefixAllocator::new(ServerId(7), u64::MAX).allocate(),
        Err(exhausted)
    );
}

proptest! {
    #[test]
    fn two_channels_never_share_a_search_space(
        servers in prop::collection::hash_set(any::<u16>(), 1..4), next in 0_u64..CHANNEL_INDICES - 50,
        rolled in prop::collection::vec(any::<[u8; 8]>(), 2),
    ) {
        let mut seen = HashSet::new();
        for server in &servers {
            let mut allocator = PrefixAllocator::new(ServerId(*server), next);
            for _ in 0..50 {
                let prefix = allocator.allocate().unwrap();
                prop_assert_eq!(prefix.server_id(), ServerId(*server));
                prop_assert!(seen.insert(prefix));
                // Whatever is rolled, the extranonce stays the channel's.
                for rolled in &rolled {
                    prop_assert_eq!(prefix.extranonce(*rolled).prefix(), prefix);
                }
            }
        }
    }
}
