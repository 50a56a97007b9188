//! Metrics: the recorder, and the endpoint that Prometheus scrapes.

mod passing;

pub use passing::{Family, PassingMetrics};

use crate::{Context, Failure, Tasks, listen};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Of histograms whose name ends in `_seconds`: from an fdatasync to a payment over Lightning that is late.
const SECONDS_BUCKETS: [f64; 18] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Of all other histograms, such as counts in a batch or bytes.
const OTHER_BUCKETS: [f64; 13] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
];

/// Scrapers at a time: two Prometheus servers and an operator with curl.
const MAX_CONNECTIONS: usize = 8;

/// For a request and its answer; nothing is kept open.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

/// How often histograms are drained when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A recorder whose histograms all have buckets: without, they would be summaries, which can't be added up.
fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    Ok(PrometheusBuilder::new()
        .set_buckets(&OTHER_BUCKETS)?
        .set_buckets_for_metric(suffix, &SECONDS_BUCKETS)?
        .build_recorder())
}

/// Makes the process's metrics go to the handle that is returned.
pub(crate) fn install(
    daemon: &'static str,
    version: &'static str,
) -> Result<PrometheusHandle, Failure> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_taken| Failure::other("metrics were set up before in this process"))?;
    describe(daemon, version);
    Ok(handle)
}

fn describe(daemon: &'static str, version: &'static str) {
    use metrics::{describe_counter, describe_gauge};
    describe_gauge!("hyperhash_build_info", "Which build runs, always 1");
    describe_gauge!("hyperhash_ready", "1 while the daemon does its work");
    describe_gauge!("hyperhash_start_time_seconds", "When the daemon started");
    describe_gauge!("process_start_time_seconds", "When the process started");
    describe_counter!(
        "hyperhash_log_messages_total",
        "Log lines written, by level"
    );
    metrics::gauge!("hyperhash_build_info", "daemon" => daemon, "version" => version).set(1.0);
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    metrics::gauge!("process_start_time_seconds").set(since_epoch.as_secs_f64());
    metrics::gauge!("hyperhash_start_time_seconds", "daemon" => daemon)
        .set(since_epoch.as_secs_f64());
    for level in ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"] {
        metrics::counter!("hyperhash_log_messages_total", "level" => level).absolute(0);
    }
}

/// Keeps the histograms small, and serves `/metrics` and `/healthz` on `address` if there is one. Gives the address that
/// is listened on.
///
/// # Errors
/// As of [`listen`].
pub(crate) async fn serve(
    context: &Context,
    handle: PrometheusHandle,
    address: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, Failure> {
    let tasks = &context.tasks;
    let upkeep = upkeep(tasks.clone(), handle.clone());
    tasks.spawn("metrics-upkeep", upkeep);
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = listen("metrics_address", address).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "metrics served");
    let shown = Shown {
        recorded: handle,
        passing: context.passing_metrics.clone(),
    };
    let accept = accept(tasks.clone(), listener, shown);
    tasks.spawn("metrics", accept);
    Ok(Some(address))
}

/// What a scrape finds.
#[derive(Clone)]
struct Shown {
    recorded: PrometheusHandle,
    passing: PassingMetrics,
}

impl Shown {
    fn render(&self) -> String {
        self.recorded.render() + &self.passing.text()
    }
}

async fn upkeep(tasks: Tasks, handle: PrometheusHandle) -> Result<(), Failure> {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            () = tasks.cancelled() => return Ok(()),
            _ = interval.tick() => handle.run_upkeep(),
        }
    }
}

async fn accept(
    tasks: Tasks,
    listener: tokio::net::TcpListener,
    shown: Shown,
) -> Result<(), Failure> {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&free).acquire_owned().await?;
        let accepted = tokio::select! {
            () = tasks.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors: do not spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shown = shown.clone();
        let token = tasks.token().clone();
        tasks.spawn_session("metrics-scrape", async move {
            let _permit = permit;
            let scrape = tokio::time::timeout(CONNECTION_DEADLINE, answer(stream, shown));
            token.run_until_cancelled(scrape).await;
        });
    }
}

async fn answer(stream: TcpStream, shown: Shown) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shown = shown.clone();
        async move { Ok::<_, Infallible>(respond(&request, &shown)) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "scrape failed");
    }
}

fn respond(request: &Request<Incoming>, shown: &Shown) -> Response<String> {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let prometheus = "text/plain; version=0.0.4; charset=utf-8";
            (StatusCode::OK, prometheus, shown.render())
        }
        (&Method::GET, "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "try /metrics or /healthz\n".to_owned(),
        ),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_scrape_shows_histograms_with_buckets_of_their_unit() {
        let recorder = recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            describe("hh-x", "1.2.3");
            metrics::histogram!("hyperhash_job_notify_seconds").record(0.3);
            metrics::histogram!("hyperhash_batch_shares").record(7.0);
        });
        let context = Context::new("hh-x", "1.2.3", crate::Settings::default());
        let mut node = Family::gauge("hyperhash_node_info", "A node, always 1");
        node.add(&[("node", "berlin")], 1);
        context.passing_metrics.replace(&[node]);
        let any_port = "127.0.0.1:0".parse().unwrap();
        let address = serve(&context, recorder.handle(), Some(any_port))
            .await
            .unwrap()
            .unwrap();
        let text = get(address, "/metrics").await;
        for expected in [
            "HTTP/1.1 200 OK",
            "hyperhash_job_notify_seconds_bucket{le=\"0.25\"} 0",
            "hyperhash_job_notify_seconds_bucket{le=\"0.5\"} 1",
            "hyperhash_batch_shares_bucket{le=\"10\"} 1",
            "hyperhash_build_info{daemon=\"hh-x\",version=\"1.2.3\"} 1",
            "hyperhash_log_messages_total{level=\"ERROR\"} 0",
            "\n# TYPE hyperhash_node_info gauge\nhyperhash_node_info{node=\"berlin\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(get(address, "/healthz").await.ends_with("ok\n"));
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        context
            .tasks
            .shutdown(Duration::from_secs(10))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_metrics_port_that_is_taken_is_reported_with_its_key() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let context = Context::new("hh-x", "1", crate::Settings::default());
        let handle = recorder().unwrap().handle();
        let failure = serve(&context, handle, Some(held.local_addr().unwrap()))
            .await
            .unwrap_err();
        assert!(failure.to_string().contains("change metrics_address"));
    }
}
