//! `hhctl worker`.

use crate::failure::Failure;
use crate::output::{Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{Worker, WorkerQuery};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(
    session: &mut Session,
    account: Option<String>,
    limit: u32,
) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let when_empty = match &account {
        Some(account) => format!("no miner of {account} was ever connected"),
        None => "no worker yet; one appears when its miner connects for the first time".to_owned(),
    };
    let query = WorkerQuery {
        account,
        offset: 0,
        limit,
    };
    let answer = daemon.client.workers(daemon.call(), query).await;
    let page = daemon.granted(answer)?;
    let mut view = vec![Part::Table(table(&page.workers, session.now(), when_empty))];
    view.extend(Part::cut(
        page.workers.len(),
        page.total,
        "; --limit shows more, --account fewer",
    ));
    let mut report = Report::list("WorkerList", &page.workers, view);
    report.add("total", json!(page.total));
    Ok(report)
}

fn table(workers: &[Worker], now: Timestamp, when_empty: String) -> Table {
    let columns = vec![
        Column::left("ACCOUNT"),
        Column::left("WORKER"),
        Column::left("NODE"),
        Column::left("LANE"),
        Column::right("CHANNELS"),
        Column::right("HASHRATE 10m"),
        Column::right("1h"),
        Column::right("24h"),
        Column::right("SHARES"),
        Column::right("WORK (hashes)"),
        Column::right("REJECTED 24h"),
        Column::left("LAST SHARE"),
    ];
    let mut table = Table::new(columns, when_empty);
    let rates = |worker: &Worker| {
        [
            worker.hashrate_10m_hs,
            worker.hashrate_1h_hs,
            worker.hashrate_24h_hs,
        ]
    };
    let largest = workers.iter().flat_map(rates).fold(0.0, f64::max);
    for worker in workers {
        let [of_10m, of_1h, of_24h] = rates(worker).map(|rate| text::hashrate_like(rate, largest));
        let work = worker
            .work
            .parse()
            .map_or_else(|_error| worker.work.clone(), text::si);
        let rejected = text::count(worker.rejected_24h);
        let of_all = worker.shares_24h + worker.rejected_24h;
        table.row(vec![
            worker.account.as_str().into(),
            worker.worker.as_str().into(),
            worker.nodes.join(", ").into(),
            worker.lanes.join(", ").into(),
            text::count(worker.channels.into()).into(),
            of_10m.into(),
            of_1h.into(),
            of_24h.into(),
            text::count(worker.shares).into(),
            work.into(),
            format!(
                "{rejected} ({})",
                text::percent(worker.rejected_24h, of_all)
            )
            .into(),
            text::ago(now, worker.last_share_at).into(),
        ]);
    }
    table
}
