//! The client over real sockets, with providers that do what a test says.

use super::*;
use crate::sample;
use crate::sample::PATIENCE;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_sv2::message::{Protocol, RequestTransactionDataError};
use hh_sv2::setup::{SETUP_DEADLINE, server_setup};
use hh_sv2::{Authority, AuthoritySecretKey, Connection, Limits};
use tokio::net::TcpListener;

/// A provider that waits to be connected to.
struct Provider {
    socket: TcpListener,
    authority: Authority,
}

impl Provider {
    async fn start() -> Self {
        Self {
            socket: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            authority: Authority::new(AuthoritySecretKey::generate(), CERTIFICATE_VALIDITY),
        }
    }

    fn address(&self) -> String {
        self.socket.local_addr().unwrap().to_string()
    }

    /// The next connection, with the client's constraints taken.
    async fn accept(&self) -> Connection {
        let accepted = tokio::time::timeout(PATIENCE, self.socket.accept()).await;
        let (stream, _) = accepted.expect("the pool connects").unwrap();
        let accepted = Connection::accept(stream, &self.authority, &Limits::SERVER).await;
        let mut connection = accepted.unwrap();
        let protocol = Protocol::TemplateDistributionProtocol;
        server_setup(&mut connection, protocol, 0, SETUP_DEADLINE)
            .await
            .unwrap();
        let first = connection.recv().await.unwrap();
        assert!(matches!(first, Message::CoinbaseOutputConstraints(_)));
        connection
    }
}

/// Announces a template of the tests under an id, on a tip.
async fn announce(connection: &mut Connection, template_id: u64) {
    let template = sample::template(template_id);
    connection
        .queue(NewTemplate {
            template_id,
            future_template: true,
            version: template.version,
            coinbase_tx_version: template.coinbase_tx_version,
            coinbase_prefix: template.coinbase_prefix.try_into().unwrap(),
            coinbase_tx_input_sequence: template.coinbase_tx_input_sequence,
            coinbase_tx_value_remaining: template.coinbase_tx_value_remaining,
            coinbase_tx_outputs_count: template.coinbase_tx_outputs_count,
            coinbase_tx_outputs: template.coinbase_tx_outputs.try_into().unwrap(),
            coinbase_tx_locktime: template.coinbase_tx_locktime,
            merkle_path: Vec::new().try_into().unwrap(),
        })
        .unwrap();
    set_new_prev_hash(connection, template_id).await;
}

async fn set_new_prev_hash(connection: &mut Connection, template_id: u64) {
    let tip = sample::tip(1);
    connection
        .queue(TemplateSetNewPrevHash {
            template_id,
            prev_hash: tip.prev_hash.into(),
            header_timestamp: tip.header_timestamp,
            n_bits: tip.nbits,
            target: tip.target.to_le_bytes().into(),
        })
        .unwrap();
    connection.flush().await.unwrap();
}

/// A client of these providers, whose tasks end with what is returned.
fn client(providers: [&Provider; 2]) -> (work::Receiver, Links, Tasks) {
    let configs = providers.map(|provider| TemplateProviderConfig {
        address: provider.address(),
        authority_public_key: provider.authority.public_key(),
    });
    let links = Links::new(configs.iter().map(|config| config.address.clone()));
    let script = sample::reward_script();
    let return_after = Duration::from_secs(3_600);
    let board = WorkBoard::new(script.clone(), "/test/", 7, configs.len(), return_after);
    let constraints = constraints(&script).unwrap();
    let client = TemplateClient::new(
        configs.to_vec(),
        board,
        constraints,
        links.clone(),
        Clock::start(),
    );
    let work = client.work();
    let tasks = Tasks::default();
    tasks.spawn_session("template client", client.run(tasks.clone()));
    (work, links, tasks)
}

async fn wait_for_template(work: &mut work::Receiver, template_id: u64) {
    let given = work.wait_for(|work| {
        let work = work.as_ref();
        work.is_some_and(|work| work.job.template.template.template_id == template_id)
    });
    let given = tokio::time::timeout(PATIENCE, given).await;
    given.expect("miners are given it").unwrap();
}

#[tokio::test]
async fn a_provider_that_sends_what_makes_no_work_is_left_and_cut_off() {
    let providers = [Provider::start().await, Provider::start().await];
    let (mut work, links, tasks) = client([&providers[0], &providers[1]]);
    let mut first = providers[0].accept().await;
    announce(&mut first, 1).await;
    wait_for_template(&mut work, 1).await;
    let mut second = providers[1].accept().await;
    announce(&mut second, 2).await;

    set_new_prev_hash(&mut first, 99).await;
    wait_for_template(&mut work, 2).await;
    assert_eq!(links.active(), Some(providers[1].address()));
    while first.recv().await.is_ok() {}
    let error = links.snapshot()[0].last_error.clone().unwrap();
    assert!(error.contains("template 99"), "{error}");
    // It is tried again, and not used before it has been well for long.
    let mut again = providers[0].accept().await;
    announce(&mut again, 3).await;
    let asked = again.recv().await.unwrap();
    assert!(
        matches!(asked, Message::RequestTransactionData(_)),
        "{asked:?}"
    );
    assert_eq!(links.active(), Some(providers[1].address()));
    tasks.token().cancel();
}

#[tokio::test]
async fn a_provider_with_nothing_to_say_is_asked_and_kept_when_it_answers() {
    let providers = [Provider::start().await, Provider::start().await];
    let (mut work, links, tasks) = client([&providers[0], &providers[1]]);
    let mut first = providers[0].accept().await;
    announce(&mut first, 1).await;
    wait_for_template(&mut work, 1).await;
    for expected in [1, u64::MAX] {
        let asked = first.recv().await.unwrap();
        let Message::RequestTransactionData(request) = asked else {
            panic!("{asked:?}");
        };
        assert_eq!(request.template_id, expected);
        first
            .queue(RequestTransactionDataError {
                template_id: request.template_id,
                error_code: "template-id-not-found".try_into().unwrap(),
            })
            .unwrap();
        first.flush().await.unwrap();
    }
    assert_eq!(links.active(), Some(providers[0].address()));
    tasks.token().cancel();
}
