//! What finders get of fees.

use super::*;

on_both_engines!(fees_are_the_finders_while_the_split_stands);

async fn fees_are_the_finders_while_the_split_stands(site: Site) {
    let desk = Desk::new(site);
    let fees = async || desk.books.finders_fees().await.unwrap();
    let track = desk.books.track_block(new_block(9, "alice@example.org"));
    track.await.unwrap();
    assert!(fees().await.is_empty(), "it is not split");
    desk.payable(1).await;
    desk.split(2).await;
    let of_one = reward(1).fees();
    assert_eq!(of_one, Msat(10_000_007_000));
    let bob = "bob@example.org".to_owned();
    let both = Msat(2 * of_one.0);
    assert_eq!(fees().await, [(bob.clone(), both)].into());
    let reversed = desk.books.reverse(hash(2), "reorg".to_owned(), NOW_MS);
    reversed.await.unwrap();
    assert_eq!(fees().await, [(bob, of_one)].into());
    desk.check().await;
}
