//! Whose a name is.

use super::*;

on_both_engines!(
    a_token_makes_its_holder_the_owner_once,
    a_new_token_takes_the_place_of_the_old_one,
    an_operator_gives_an_owners_key_out_once,
    two_persons_replace_an_owners_key,
    only_names_are_claimed,
);

const KEY: [u8; 32] = [5; 32];

fn sha(token: &[u8]) -> [u8; 32] {
    sha256::Hash::hash(token).to_byte_array()
}

impl Desk {
    async fn give(&self, account: &str, token: &[u8]) -> Result<(), BooksError> {
        let put =
            self.books
                .put_claim_token(account.to_owned(), sha(token), "ann".to_owned(), NOW_MS);
        put.await
    }

    async fn claim(&self, account: &str, token: &[u8], key: [u8; 32]) -> Result<(), BooksError> {
        let claim = self
            .books
            .claim(account.to_owned(), token.to_owned(), key, NOW_MS + 1);
        claim.await
    }

    async fn owner_key(&self, account: &str) -> Option<[u8; 32]> {
        let owner = self.books.owner(account.to_owned()).await.unwrap();
        owner.map(|owner| owner.key)
    }
}

async fn a_token_makes_its_holder_the_owner_once(site: Site) {
    let desk = Desk::new(site);
    let refused = refusal(desk.claim("carol", b"token", KEY).await);
    assert_eq!(
        refused,
        r#"account "carol" can't be claimed: that is not its claim token"#
    );
    desk.give("carol", b"token").await.unwrap();
    desk.give("dave", b"token of dave").await.unwrap();
    for wrong in [&b"toke"[..], b"token of dave", b"", &sha(b"token")] {
        refusal(desk.claim("carol", wrong, KEY).await);
    }
    desk.claim("carol", b"token", KEY).await.unwrap();
    let owner = desk.books.owner("carol".to_owned()).await.unwrap().unwrap();
    assert_eq!(
        (owner.key, owner.by.as_str(), owner.since_ms),
        (KEY, "ann", NOW_MS + 1)
    );
    let again = refusal(desk.claim("carol", b"token", [6; 32]).await);
    assert_eq!(
        again,
        r#"account "carol" can't be claimed: it has an owner"#
    );
    refusal(desk.give("carol", b"another").await);
    assert_eq!(desk.owner_key("carol").await, Some(KEY));
    assert_eq!(desk.owner_key("dave").await, None);
}

async fn a_new_token_takes_the_place_of_the_old_one(site: Site) {
    let desk = Desk::new(site);
    desk.give("carol", b"lost").await.unwrap();
    desk.give("carol", b"new").await.unwrap();
    refusal(desk.claim("carol", b"lost", [6; 32]).await);
    desk.claim("carol", b"new", KEY).await.unwrap();
    assert_eq!(desk.owner_key("carol").await, Some(KEY));
}

async fn an_operator_gives_an_owners_key_out_once(site: Site) {
    let desk = Desk::new(site);
    let put = async |key| {
        let put = desk
            .books
            .put_owner_key("carol".to_owned(), key, "ann".to_owned(), NOW_MS);
        put.await
    };
    desk.give("carol", b"token").await.unwrap();
    put(KEY).await.unwrap();
    refusal(put([6; 32]).await);
    refusal(desk.claim("carol", b"token", [6; 32]).await);
    assert_eq!(desk.owner_key("carol").await, Some(KEY));
}

async fn two_persons_replace_an_owners_key(site: Site) {
    let desk = Desk::new(site);
    let replace = async |key| {
        let (account, reason) = ("carol".to_owned(), "lost".to_owned());
        let replaced =
            desk.books
                .replace_owner_key(account, key, desk.two().await, reason, NOW_MS + 2);
        replaced.await
    };
    let refused = refusal(replace([6; 32]).await);
    assert_eq!(
        refused,
        r#"account "carol" can't be claimed: it has no owner"#
    );
    desk.give("carol", b"token").await.unwrap();
    desk.claim("carol", b"token", KEY).await.unwrap();
    replace([6; 32]).await.unwrap();
    let owner = desk.books.owner("carol".to_owned()).await.unwrap().unwrap();
    assert_eq!(
        (owner.key, owner.by.as_str()),
        ([6; 32], "ann and ben: lost")
    );
}

async fn only_names_are_claimed(site: Site) {
    let desk = Desk::new(site);
    for account in [
        "alice@example.org",
        "",
        "Carol",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ] {
        let refused = refusal(desk.give(account, b"token").await);
        assert!(
            refused.ends_with("only names are claimed"),
            "{account}: {refused}"
        );
    }
}
