//! What everybody sees: the pool's figures, its blocks with their signed reports, where fees went, what was paid, public nodes.
//!
//! Nothing of it is core's word: reports carry hh-treasury's signature, payments their hashes. No account's name is in it. All is
//! kept for some seconds, so that many who look cost no more than one.

mod money;
mod view;

use super::Rest;
use super::asked::{InPath, InQuery, Page, PageQuery};
use super::cached::Cached;
use super::problem::{Problem, Problems};
use axum::Json;
use axum::extract::State;
use hh_ipc::api::core::NodeState;
use hh_ipc::api::treasury::BlockReport;
pub(super) use money::{__path_fees, __path_payments, fees, payments};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use view::{PoolFigures, PublicBlock, PublicNode, TreasuryFigures};

/// What changes is read again after this.
const FIGURES_LIFE: Duration = Duration::from_secs(10);

/// A report never changes; a block that is orphaned keeps its own.
const REPORT_LIFE: Duration = Duration::from_secs(3_600);

/// Reports that are kept: the blocks of some weeks, at a hundred kB each.
const REPORTS_MAX: usize = 64;

/// Blocks that are shown, newest first; hh-treasury answers with no more.
const BLOCKS_MAX: u32 = 1_000;

/// What was read of late.
#[derive(Debug)]
pub(super) struct Shelf {
    pool: Cached<PoolFigures>,
    treasury: Cached<TreasuryFigures>,
    nodes: Cached<Arc<Vec<PublicNode>>>,
    blocks: Cached<Arc<Vec<PublicBlock>>>,
    reports: Cached<Arc<BlockReport>>,
    payments: Cached<Arc<Page<money::Payment>>>,
    /// The key of pseudonyms, which never changes.
    pseudonyms: OnceCell<Vec<u8>>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            pool: Cached::new(FIGURES_LIFE, 1),
            treasury: Cached::new(FIGURES_LIFE, 1),
            nodes: Cached::new(FIGURES_LIFE, 1),
            blocks: Cached::new(FIGURES_LIFE, 1),
            reports: Cached::new(REPORT_LIFE, REPORTS_MAX),
            payments: Cached::new(FIGURES_LIFE, money::PAGES_MAX),
            pseudonyms: OnceCell::new(),
        }
    }
}

/// A block's hash, as Bitcoin Core prints it.
pub(super) fn block_hash(text: String) -> Result<String, Problem> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match text.len() == 64 && text.bytes().all(is_digit) {
        true => Ok(text),
        false => Err(Problem::malformed(
            "a block's hash has 64 hexadecimal digits in lower case",
        )),
    }
}

impl Rest {
    async fn blocks(&self) -> Result<Arc<Vec<PublicBlock>>, Problem> {
        let read = async {
            let treasury = self.sources.treasury().await?;
            let answer = treasury.client.blocks(treasury.call(), BLOCKS_MAX).await;
            let page = treasury.granted(answer)?;
            let blocks = page.blocks.into_iter().map(PublicBlock::from);
            Ok::<_, Problem>(Arc::new(blocks.collect()))
        };
        self.shelf.blocks.get("", read).await
    }

    async fn report(&self, hash: &str) -> Result<Arc<BlockReport>, Problem> {
        let read = async {
            let treasury = self.sources.treasury().await?;
            let answer = treasury.client.report(treasury.call(), hash.to_owned());
            Ok::<_, Problem>(Arc::new(treasury.granted(answer.await)?))
        };
        self.shelf.reports.get(hash, read).await
    }
}

/// The pool at a glance.
#[utoipa::path(get, path = "/v1/public/pool", tag = "public",
    responses((status = 200, description = "Its figures", body = PoolFigures), Problems))]
pub(super) async fn pool(State(rest): State<Rest>) -> Result<Json<PoolFigures>, Problem> {
    let read = async {
        let pool = rest.sources.pool().await?;
        let answer = pool.client.status(pool.call()).await;
        Ok::<_, Problem>(PoolFigures::from(pool.answered(answer)?))
    };
    Ok(Json(rest.shelf.pool.get("", read).await?))
}

/// The treasury at a glance, with the key that signs the reports of blocks.
#[utoipa::path(get, path = "/v1/public/treasury", tag = "public",
    responses((status = 200, description = "Its figures", body = TreasuryFigures), Problems))]
pub(super) async fn treasury(State(rest): State<Rest>) -> Result<Json<TreasuryFigures>, Problem> {
    let read = async {
        let treasury = rest.sources.treasury().await?;
        let answer = treasury.client.status(treasury.call()).await;
        Ok::<_, Problem>(TreasuryFigures::from(treasury.answered(answer)?))
    };
    Ok(Json(rest.shelf.treasury.get("", read).await?))
}

/// The nodes that serve miners of others, by name.
#[utoipa::path(get, path = "/v1/public/nodes", tag = "public", params(PageQuery),
    responses((status = 200, description = "A page of nodes", body = Page<PublicNode>), Problems))]
pub(super) async fn nodes(
    State(rest): State<Rest>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<PublicNode>>, Problem> {
    let read = async {
        // What ails the database is for the log alone, where it is.
        let nodes = rest.control.nodes().await;
        let nodes = nodes.map_err(|_told| Problem::no_database())?;
        let nodes = nodes.nodes.into_iter();
        let shown = nodes.filter(|node| node.public && node.state != NodeState::Revoked);
        Ok::<_, Problem>(Arc::new(shown.map(PublicNode::from).collect()))
    };
    let nodes: Arc<Vec<PublicNode>> = rest.shelf.nodes.get("", read).await?;
    let page = Page::cut(nodes.iter().cloned(), &query, |node| node.id.clone())?;
    Ok(Json(page))
}

/// Blocks of ours, newest first.
#[utoipa::path(get, path = "/v1/public/blocks", tag = "public", params(PageQuery),
    responses((status = 200, description = "A page of blocks", body = Page<PublicBlock>), Problems))]
pub(super) async fn blocks(
    State(rest): State<Rest>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<PublicBlock>>, Problem> {
    let blocks = rest.blocks().await?;
    let page = Page::cut(blocks.iter().cloned(), &query, |block| block.hash.clone())?;
    Ok(Json(page))
}

/// One of them.
#[utoipa::path(get, path = "/v1/public/blocks/{hash}", tag = "public",
    params(("hash" = String, Path, description = "Its hash", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, description = "The block", body = PublicBlock), Problems))]
pub(super) async fn block(
    State(rest): State<Rest>,
    InPath(hash): InPath<String>,
) -> Result<Json<PublicBlock>, Problem> {
    let hash = block_hash(hash)?;
    let blocks = rest.blocks().await?;
    let block = blocks.iter().find(|block| block.hash == hash);
    let block = block.ok_or_else(|| Problem::not_found("no block of ours has that hash"))?;
    Ok(Json(block.clone()))
}

/// What a block brought and who got what, under pseudonyms, with hh-treasury's signature. docs/reference/block-report.md says
/// how it is checked.
#[utoipa::path(get, path = "/v1/public/blocks/{hash}/report", tag = "public",
    params(("hash" = String, Path, description = "The block's hash", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, description = "The signed report", body = BlockReport), Problems))]
pub(super) async fn report(
    State(rest): State<Rest>,
    InPath(hash): InPath<String>,
) -> Result<Json<BlockReport>, Problem> {
    let report = rest.report(&block_hash(hash)?).await?;
    Ok(Json((*report).clone()))
}
