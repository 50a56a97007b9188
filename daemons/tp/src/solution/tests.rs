use super::*;
use bitcoin::merkle_tree;

#[test]
fn root_from_a_path_is_the_root_of_the_tree() {
    let leaves = [[1; 32], [2; 32], [3; 32], [4; 32]];
    let hash = |bytes: [u8; 32]| bitcoin::Txid::from_byte_array(bytes);
    let right = merkle_tree::calculate_root([hash(leaves[2]), hash(leaves[3])].into_iter());
    let path = [leaves[1], right.unwrap().to_byte_array()];
    let root = merkle_tree::calculate_root(leaves.map(hash).into_iter()).unwrap();
    assert_eq!(
        merkle_root_from_txid(leaves[0], &path),
        root.to_byte_array()
    );
    assert_eq!(merkle_root_from_txid(leaves[0], &[]), leaves[0]);
}
