//! Where fees went, and what was paid.

use super::super::Rest;
use super::super::asked::{InQuery, Page, PageQuery, unknown_cursor};
use super::super::problem::{Problem, Problems};
use crate::store::{StoreError, Transaction, values};
use axum::Json;
use axum::extract::State;
use hh_ipc::api::treasury::{Payout, PayoutQuery, PayoutState};
use hh_trust::command::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Pages of payments that are kept: each may have another cursor and length.
pub(super) const PAGES_MAX: usize = 64;

/// Most blocks of a page of fees: each takes a report.
const FEE_BLOCKS_MAX: u32 = 20;

/// Where the fees of a block went, as its signed report says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FeeRoute {
    /// The block's hash; its report is under `/v1/public/blocks/{hash}/report`.
    block: String,
    /// The transactions' fees, to the finder.
    finder_msat: u64,
    /// 1% of the subsidy, of which
    pool_fee_msat: u64,
    /// this to the treasury,
    treasury_msat: u64,
    /// and this to the nodes and their reserve:
    nodes_msat: u64,
    nodes: Vec<NodeFee>,
    /// What came through no node.
    node_reserve_msat: u64,
}

/// A node's part.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeFee {
    node: String,
    amount_msat: u64,
}

/// A payment over Lightning that was settled.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Payment {
    payment_hash: String,
    amount_msat: u64,
    /// What it cost to send.
    fee_msat: Option<u64>,
    settled_at: Option<Timestamp>,
    /// `miner` or `node`.
    kind: String,
    /// Who was paid: the same in all payments of one day (UTC), and another one on every other day.
    payee: String,
}

/// What is read of a report (docs/reference/block-report.md); its amounts are texts there.
#[derive(Deserialize)]
struct ReportFees {
    fees_msat: String,
    pool_fee_msat: String,
    treasury_msat: String,
    node_half_msat: String,
    nodes: Vec<ReportNode>,
    node_reserve: ReportReserve,
}

#[derive(Deserialize)]
struct ReportNode {
    node: String,
    amount_msat: String,
}

#[derive(Deserialize)]
struct ReportReserve {
    amount_msat: String,
}

impl FeeRoute {
    /// None where a report is of another form.
    fn read(block: &str, report: &str) -> Option<Self> {
        let fees: ReportFees = serde_json::from_str(report).ok()?;
        let nodes = fees.nodes.into_iter().map(|part| {
            Some(NodeFee {
                node: part.node,
                amount_msat: part.amount_msat.parse().ok()?,
            })
        });
        Some(Self {
            block: block.to_owned(),
            finder_msat: fees.fees_msat.parse().ok()?,
            pool_fee_msat: fees.pool_fee_msat.parse().ok()?,
            treasury_msat: fees.treasury_msat.parse().ok()?,
            nodes_msat: fees.node_half_msat.parse().ok()?,
            nodes: nodes.collect::<Option<_>>()?,
            node_reserve_msat: fees.node_reserve.amount_msat.parse().ok()?,
        })
    }
}

/// Where the fees of each block went, newest first. A page has at most 20 blocks.
#[utoipa::path(get, path = "/v1/public/fees", tag = "public", params(PageQuery),
    responses((status = 200, description = "A page of blocks", body = Page<FeeRoute>), Problems))]
pub(crate) async fn fees(
    State(rest): State<Rest>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<FeeRoute>>, Problem> {
    let query = query.with_limit_of(FEE_BLOCKS_MAX);
    let blocks = rest.blocks().await?;
    let split = blocks.iter().filter(|block| block.split_at.is_some());
    let page = Page::cut(split, &query, |block| block.hash.clone())?;
    let mut items = Vec::new();
    for block in page.items {
        let report = rest.report(&block.hash).await?;
        let route = FeeRoute::read(&block.hash, &report.report);
        items.push(route.ok_or_else(|| {
            tracing::error!(
                block = block.hash,
                "report of a form that core does not know"
            );
            Problem::unavailable("HH5032", "a report has a form that this core does not know")
        })?);
    }
    let next = page.next;
    Ok(Json(Page { items, next }))
}

/// Payments that were settled, newest first. Who was paid knows the hash from his own invoice.
#[utoipa::path(get, path = "/v1/public/payments", tag = "public", params(PageQuery),
    responses((status = 200, description = "A page of payments", body = Page<Payment>), Problems))]
pub(crate) async fn payments(
    State(rest): State<Rest>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<Payment>>, Problem> {
    let limit = query.limit()?;
    let before = match query.after()? {
        None => None,
        Some(after) => Some(after.parse::<u64>().map_err(|_no| unknown_cursor())?),
    };
    let asked = format!("{before:?} {limit}");
    let read = async { Ok::<_, Problem>(Arc::new(rest.settled(before, limit).await?)) };
    let page = rest.shelf.payments.get(&asked, read).await?;
    Ok(Json((*page).clone()))
}

impl Rest {
    async fn settled(&self, before: Option<u64>, limit: u32) -> Result<Page<Payment>, Problem> {
        let treasury = self.sources.treasury().await?;
        let query = PayoutQuery {
            payee: None,
            states: Some(vec![PayoutState::Settled]),
            before,
            limit,
        };
        let answer = treasury.client.payouts(treasury.call(), query).await;
        let page = treasury.granted(answer)?;
        let pseudonyms = &self.shelf.pseudonyms;
        let key = pseudonyms.get_or_try_init(|| self.pseudonym_key());
        let key = key.await?;
        let paid = page.payouts.into_iter();
        let items = paid.filter_map(|payout| payment(key, payout)).collect();
        let next = page.next_before.map(|before| before.to_string());
        Ok(Page { items, next })
    }

    async fn pseudonym_key(&self) -> Result<Vec<u8>, Problem> {
        let read: Result<Vec<u8>, StoreError> = self
            .control
            .store
            .call(|transaction: &Transaction<'_>| {
                let key = values![rand::random::<[u8; 32]>()];
                let insert =
                    "INSERT INTO pseudonyms (\"only\", key) VALUES (1, $1) ON CONFLICT DO NOTHING";
                transaction.execute(insert, &key)?;
                transaction.one("SELECT key FROM pseudonyms", &[])?.get(0)
            })
            .await;
        read.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "key of pseudonyms not read"
            );
            Problem::no_database()
        })
    }
}

fn payment(key: &[u8], payout: Payout) -> Option<Payment> {
    let day = payout.settled_at.map(day_of);
    let kind = payout.payee.split_once(':').map_or("", |(kind, _)| kind);
    Some(Payment {
        payment_hash: payout.payment_hash?,
        amount_msat: payout.amount_msat,
        fee_msat: payout.fee_msat,
        settled_at: payout.settled_at,
        kind: kind.to_owned(),
        payee: pseudonym(key, day.unwrap_or_default(), &payout.payee),
    })
}

/// Days since 1970.
fn day_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

/// What nobody can turn round who does not have the key. Its length is fixed and the key comes first and last, so that nothing can
/// be appended to what is hashed.
fn pseudonym(key: &[u8], day: i64, payee: &str) -> String {
    let inner = [key, &day.to_be_bytes(), payee.as_bytes()].concat();
    let outer = [key, &Digest::of(&inner).0].concat();
    let mut text = Digest::of(&outer).to_string();
    text.truncate(32);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payee_is_another_one_on_every_day_and_for_every_key() {
        let alice = pseudonym(&[1; 32], 20_000, "miner:alice");
        assert_eq!(alice, pseudonym(&[1; 32], 20_000, "miner:alice"));
        assert_eq!(alice.len(), 32);
        for other in [
            pseudonym(&[1; 32], 20_001, "miner:alice"),
            pseudonym(&[2; 32], 20_000, "miner:alice"),
            pseudonym(&[1; 32], 20_000, "miner:bob"),
        ] {
            assert_ne!(alice, other);
        }
        let just_before: Timestamp = "2026-01-01T23:59:59Z".parse().unwrap();
        let midnight: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(day_of(just_before) + 1, day_of(midnight));
    }

    #[test]
    fn a_report_says_where_fees_went() {
        let report = r#"{"format":"hyperhash-block-report/1","fees_msat":"5","pool_fee_msat":"4","node_half_msat":"2",
            "treasury_msat":"2","nodes":[{"node":"edge-1","score":"9","amount_msat":"1"}],"node_reserve":{"score":"9","amount_msat":"1"}}"#;
        let route = FeeRoute::read("00", report).unwrap();
        assert_eq!((route.finder_msat, route.nodes[0].amount_msat), (5, 1));
        assert!(FeeRoute::read("00", "{}").is_none());
    }
}
