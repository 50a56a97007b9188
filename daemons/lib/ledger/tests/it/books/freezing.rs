//! Freezes, and what two persons agree to.

use super::*;

on_both_engines!(
    freezes_stand_until_two_persons_lift_them,
    consents_are_to_the_same_terms_and_expire,
    a_word_of_two_lifts_freezes_once,
);

async fn freezes_stand_until_two_persons_lift_them(site: Site) {
    let desk = Desk::new(site);
    let freeze = async |reason: &str, actor: &str, at_ms| {
        let freeze = desk
            .books
            .freeze(reason.to_owned(), actor.to_owned(), at_ms);
        freeze.await.unwrap();
    };
    assert_eq!(desk.books.frozen().await.unwrap(), None);
    freeze("insolvent", "hh-treasury", NOW_MS).await;
    freeze("insolvent", "hh-treasury", NOW_MS + 1).await;
    freeze("a hunch", "ann", NOW_MS + 2).await;
    let standing = desk.books.freezes().await.unwrap();
    let reasons: Vec<_> = standing
        .iter()
        .map(|freeze| freeze.reason.as_str())
        .collect();
    assert_eq!(reasons, ["insolvent", "a hunch"]);
    let oldest = desk.books.frozen().await.unwrap().unwrap();
    assert_eq!(
        (oldest.actor.as_str(), oldest.at_ms),
        ("hh-treasury", NOW_MS)
    );
    let unfreeze = async || {
        desk.books
            .unfreeze(desk.two().await, "looked into".to_owned(), NOW_MS)
            .await
    };
    assert!(unfreeze().await.unwrap());
    assert!(!unfreeze().await.unwrap());
    assert_eq!(desk.books.freezes().await.unwrap(), []);
    freeze("insolvent", "hh-treasury", NOW_MS + 3).await;
    assert_eq!(desk.books.freezes().await.unwrap().len(), 1);
}

async fn consents_are_to_the_same_terms_and_expire(site: Site) {
    let desk = Desk::new(site);
    let consent = async |terms: &str, actor: &str, until_ms, now_ms| {
        let (terms, actor) = (terms.to_owned(), actor.to_owned());
        let consents = desk
            .books
            .consent("close:7".to_owned(), terms, actor, until_ms, now_ms);
        matches!(consents.await.unwrap(), Consent::Both(_))
    };
    assert!(!consent("a", "ann", NOW_MS + 100, NOW_MS).await);
    assert!(
        !consent("a", "ann", NOW_MS + 100, NOW_MS).await,
        "one person"
    );
    assert!(
        !consent("b", "ben", NOW_MS + 100, NOW_MS + 1).await,
        "to other terms"
    );
    assert!(consent("a", "ben", NOW_MS + 300, NOW_MS + 2).await);
    assert!(
        !consent("a", "ben", NOW_MS + 300, NOW_MS + 100).await,
        "ann's has expired"
    );
}

async fn a_word_of_two_lifts_freezes_once(site: Site) {
    let desk = Desk::new(site);
    desk.freeze().await;
    let two = desk.two().await;
    let unfreeze = async |two: TwoActors| {
        let lifted = desk.books.unfreeze(two, "seen".to_owned(), NOW_MS);
        lifted.await
    };
    assert!(unfreeze(two.clone()).await.unwrap());
    desk.freeze().await;
    let again = unfreeze(two).await;
    assert!(
        matches!(again, Err(BooksError::NotAgreed { .. })),
        "{again:?}"
    );
    assert_eq!(desk.books.freezes().await.unwrap().len(), 1);
    assert!(unfreeze(desk.two().await).await.unwrap());
}
