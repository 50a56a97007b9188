//! `Destination`: where a payee is paid. Setting one needs proof, which whoever calls has checked, and a cooling-off period,
//! the first time too; while one cools off nothing is paid, neither to the new one nor to the old.

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{Books, BooksError, Payee, TEXT_BYTES_MAX, TwoActors, names};

/// What kind of destination it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationKind {
    /// A Lightning address: invoices are fetched from its domain.
    LnAddress,
    /// An invoice that a node has submitted for what it is owed. Payouts only: it is never set.
    NodeInvoice,
    /// A BOLT12 offer.
    Bolt12,
    /// A key whose holder may draw by invoice.
    Bolt11Draw,
}

names!(DestinationKind, "kind of destination", {
    LnAddress = "lnaddress",
    NodeInvoice = "node_invoice",
    Bolt12 = "bolt12",
    Bolt11Draw = "bolt11_draw",
});

/// A destination as it is to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDestination {
    /// Whose.
    pub payee: Payee,
    /// Its number: above the last one that this payee has set, so that a signed order can't be used twice.
    pub seq: u64,
    /// Its kind.
    pub kind: DestinationKind,
    /// The address or offer, or the key that may draw.
    pub text: String,
    /// What proves that the payee wants it.
    pub proof: String,
    /// How long nothing is paid to it.
    pub cooling_off_ms: i64,
}

/// A destination that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whose.
    pub payee: Payee,
    /// Its number.
    pub seq: u64,
    /// Its kind.
    pub kind: DestinationKind,
    /// The address or offer, or the key that may draw.
    pub text: String,
    /// What proves that the payee wants it.
    pub proof: String,
    /// When it was set, milliseconds since 1970.
    pub set_at_ms: i64,
    /// From when on it is paid to.
    pub active_from_ms: i64,
    /// When it was cancelled, if it was.
    pub cancelled_at_ms: Option<i64>,
}

/// Where a payee is paid now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationOf {
    /// Nowhere: what it earns is held.
    None,
    /// There.
    Active(Destination),
    /// Nowhere until this one is active.
    CoolingOff(Destination),
    /// Nowhere: the last one was cancelled after it had been active.
    Cancelled(Destination),
}

const QUERY: &str =
    "SELECT payee, seq, kind, destination, proof, set_at_ms, active_from_ms, cancelled_at_ms
    FROM destinations WHERE payee = $1 ORDER BY seq DESC";

fn from_row(row: &Row) -> Result<Destination, BooksError> {
    Ok(Destination {
        payee: row.parse(0)?,
        seq: row.get(1)?,
        kind: row.parse(2)?,
        text: row.get(3)?,
        proof: row.get(4)?,
        set_at_ms: row.get(5)?,
        active_from_ms: row.get(6)?,
        cancelled_at_ms: row.get(7)?,
    })
}

async fn all(session: &mut Session, payee: &Payee) -> Result<Vec<Destination>, CallError> {
    let rows = session.query(QUERY, &values![payee.to_string()]).await?;
    rows.iter().map(|row| Ok(from_row(row)?)).collect()
}

/// An account that is a Lightning address is its own destination.
fn own(payee: &Payee) -> Option<Destination> {
    match payee {
        Payee::Miner(account) if account.contains('@') => Some(Destination {
            payee: payee.clone(),
            seq: 0,
            kind: DestinationKind::LnAddress,
            text: account.clone(),
            proof: String::new(),
            set_at_ms: 0,
            active_from_ms: 0,
            cancelled_at_ms: None,
        }),
        Payee::Miner(_) | Payee::Node(_) | Payee::NodeReserve | Payee::Treasury => None,
    }
}

/// Where a payee is paid now. One that was cancelled while it cooled off counts for nothing, so that the one before holds
/// again; one that was active once has ended all before it.
pub(super) async fn of(
    session: &mut Session,
    payee: &Payee,
    now_ms: i64,
) -> Result<DestinationOf, CallError> {
    if let Some(own) = own(payee) {
        return Ok(DestinationOf::Active(own));
    }
    for destination in all(session, payee).await? {
        return Ok(match destination.cancelled_at_ms {
            Some(at_ms) if at_ms < destination.active_from_ms => continue,
            Some(_) => DestinationOf::Cancelled(destination),
            None if destination.active_from_ms <= now_ms => DestinationOf::Active(destination),
            None => DestinationOf::CoolingOff(destination),
        });
    }
    Ok(DestinationOf::None)
}

async fn set(
    session: &mut Session,
    new: NewDestination,
    now_ms: i64,
) -> Result<Destination, CallError> {
    let payee = new.payee.checked()?;
    let refused = |why| BooksError::Destination {
        payee: payee.clone(),
        why,
    };
    if own(&payee).is_some() {
        return Err(refused("a Lightning address is its own destination").into());
    }
    match (&payee, new.kind) {
        (Payee::NodeReserve, _) => {
            let payee = payee.clone();
            return Err(BooksError::NotPayable { payee }.into());
        }
        (Payee::Node(_), _) => {
            return Err(refused("a node submits invoices").into());
        }
        (_, DestinationKind::NodeInvoice) => {
            return Err(refused("only nodes submit invoices").into());
        }
        (Payee::Miner(_) | Payee::Treasury, _) => {}
    }
    let last = all(session, &payee)
        .await?
        .first()
        .map_or(0, |last| last.seq);
    let seq = new.seq;
    // A number that no column holds would be written as another one.
    if seq <= last || i64::try_from(seq).is_err() {
        return Err(BooksError::DestinationSeq { payee, seq, last }.into());
    }
    let destination = Destination {
        payee,
        seq,
        kind: new.kind,
        text: bounded("a destination", new.text, TEXT_BYTES_MAX)?,
        proof: bounded("a proof", new.proof, TEXT_BYTES_MAX)?,
        set_at_ms: now_ms,
        active_from_ms: now_ms.saturating_add(new.cooling_off_ms.max(0)),
        cancelled_at_ms: None,
    };
    let insert =
        "INSERT INTO destinations (payee, seq, kind, destination, proof, set_at_ms, active_from_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = values![
        destination.payee.to_string(),
        seq,
        destination.kind.name(),
        destination.text.as_str(),
        destination.proof.as_str(),
        now_ms,
        destination.active_from_ms,
    ];
    session.execute(insert, &values).await?;
    Ok(destination)
}

impl Books {
    /// Sets where a payee is paid, from the end of the cooling-off period on.
    ///
    /// # Errors
    /// [`BooksError::DestinationSeq`]; [`BooksError::Destination`] for a payee that sets none, or not that kind.
    pub async fn set_destination(
        &self,
        destination: NewDestination,
        now_ms: i64,
    ) -> Result<Destination, BooksError> {
        self.write("set a destination", async move |session| {
            set(session, destination, now_ms).await
        })
        .await
    }

    /// Cancels a destination, and uses the two persons' word up; says whether there was one with that number to be cancelled.
    ///
    /// # Errors
    /// [`BooksError::NotAgreed`].
    pub async fn cancel_destination(
        &self,
        payee: Payee,
        seq: u64,
        actors: TwoActors,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        self.write("cancel a destination", async move |session| {
            actors.take(session, now_ms).await?;
            let update = "UPDATE destinations SET cancelled_at_ms = $3, cancelled_by = $4
                WHERE payee = $1 AND seq = $2 AND cancelled_at_ms IS NULL";
            let values = values![payee.to_string(), seq, now_ms, actors.named()];
            Ok(session.execute(update, &values).await? > 0)
        })
        .await
    }

    /// Where a payee is paid now.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn destination_of(
        &self,
        payee: Payee,
        now_ms: i64,
    ) -> Result<DestinationOf, BooksError> {
        self.read("look a destination up", async move |session| {
            of(session, &payee, now_ms).await
        })
        .await
    }

    /// All that a payee has ever set, newest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn destinations(&self, payee: Payee) -> Result<Vec<Destination>, BooksError> {
        self.read("list destinations", async move |session| {
            all(session, &payee).await
        })
        .await
    }
}
