//! `hhctl share`.

use super::link;
use crate::failure::Failure;
use crate::output::{Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::AccountShares;
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn stats(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.share_stats(daemon.call()).await;
    let stats = daemon.granted(answer)?;
    let now = session.now();
    let since = format!(
        "{:.0} ({})",
        stats.since_start_at,
        text::ago(now, Some(stats.since_start_at))
    );
    let fields = vec![
        ("Since", since.into()),
        ("Shares", link::shares(&stats.since_start).into()),
        ("Hashrate 1m", text::hashrate(stats.hashrate_1m_hs).into()),
        ("Hashrate 10m", text::hashrate(stats.hashrate_10m_hs).into()),
    ];
    let view = vec![
        Part::Fields(fields),
        Part::Note("In the ledger, since its beginning:".to_owned()),
        Part::Table(accounts(&stats.accounts, now)),
    ];
    Ok(Report::item("ShareStats", json!(stats), view))
}

fn accounts(accounts: &[AccountShares], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("ACCOUNT"),
        Column::right("SHARES"),
        Column::right("WORK (hashes)"),
        Column::left("LAST SHARE"),
    ];
    let when_empty = "no share yet; an account appears with its first accepted share";
    let mut table = Table::new(columns, when_empty);
    for account in accounts {
        // Exact in JSON; three digits here.
        let work = account
            .work
            .parse()
            .map_or_else(|_| account.work.clone(), text::si);
        table.row(vec![
            account.account.as_str().into(),
            text::count(account.shares).into(),
            work.into(),
            text::ago(now, account.last_share_at).into(),
        ]);
    }
    table
}
