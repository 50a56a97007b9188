use super::*;
use hh_ledger::Location;

const NODE: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

/// Books in a directory of their own, which may be opened again as after a crash.
struct Desk {
    books: Books,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let books = open(dir.path());
        Self { books, dir }
    }

    fn reopen(&mut self) {
        self.books = open(self.dir.path());
    }

    fn told(&self) -> ToldForwards {
        ToldForwards::new(self.books.clone(), NODE.to_owned())
    }

    async fn earned(&self) -> Msat {
        self.books.totals().await.unwrap().income_routing
    }
}

fn open(dir: &std::path::Path) -> Books {
    let location = Location::Sqlite(dir.join("books.db"));
    Books::open(&location, &dir.join("books.witness")).unwrap()
}

fn told(fee: u64) -> Told {
    Told {
        from: ChannelId([1; 32]),
        to: ChannelId([2; 32]),
        fee: Msat(fee),
        amount: Some(Msat(1_000_000)),
    }
}

#[tokio::test]
async fn equal_forwards_count_each_and_one_told_again_after_a_crash_counts_once() {
    let mut desk = Desk::new();
    // The first of a life may be old, and is new all the same: nothing is booked.
    desk.told().book(told(5), true).await.unwrap();
    desk.told().forgotten().await.unwrap();
    desk.told().book(told(5), false).await.unwrap();
    assert_eq!(desk.earned().await, Msat(10));
    // The node dies before it has forgotten it, and tells it again.
    desk.reopen();
    desk.told().book(told(5), true).await.unwrap();
    assert_eq!(desk.earned().await, Msat(10));
    desk.told().forgotten().await.unwrap();
    // It dies after that: the first of its next life is one more like it.
    desk.reopen();
    desk.told().book(told(5), true).await.unwrap();
    assert_eq!(desk.earned().await, Msat(15));
    // The note that it was forgotten did not reach the books; what comes in the same life is new.
    desk.told().book(told(5), false).await.unwrap();
    assert_eq!(desk.earned().await, Msat(20));
    // A try whose answer was lost, and its repetition.
    desk.told().book(told(6), false).await.unwrap();
    desk.told().book(told(6), true).await.unwrap();
    assert_eq!(desk.earned().await, Msat(26));
}

fn page(forwards: &[(u64, u64)], next: &str) -> ForwardPage {
    let forward = |(htlc, settled_at_s): &(u64, u64)| Forward {
        key: format!("77/{htlc}"),
        settled_at_s: *settled_at_s,
        from_short_id: 77,
        to_short_id: 78,
        fee: Msat(100),
        amount: Msat(1_000_000),
    };
    ForwardPage {
        forwards: forwards.iter().map(forward).collect(),
        next: PageCursor(next.to_owned()),
    }
}

#[tokio::test]
async fn a_history_is_booked_from_where_the_books_have_it() {
    let desk = Desk::new();
    let mut history = History {
        since_s: 50,
        cursor: None,
    };
    let books = &desk.books;
    // What was before the books is not theirs.
    let first = page(&[(1, 40), (2, 50), (3, 60)], "60+0");
    assert!(!history.book(books, NODE, &first).await.unwrap());
    assert_eq!(desk.earned().await, Msat(200));
    // A page is asked from the second of the last one on, which comes again beside another.
    let second = page(&[(3, 60), (4, 60)], "60+0");
    assert!(history.book(books, NODE, &second).await.unwrap());
    assert_eq!(desk.earned().await, Msat(300));
    let place = books.forwards_place(NODE.to_owned()).await.unwrap();
    assert_eq!(place.as_deref().and_then(History::parse), Some(history));
}

#[test]
fn a_place_is_read_as_it_is_kept() {
    for told in [None, Some("a:b:1:2".to_owned())] {
        let count = Count { booked: 7, told };
        assert_eq!(Count::parse(&count.place()), Some(count));
    }
    assert_eq!(Count::parse("seven x"), None);
    assert_eq!(History::parse("60"), None);
}
