//! One client of Template Distribution, such as a pool.
//!
//! Owns: its connection, its reservation class, and which tip and template it was sent last: that is nobody else's state, so
//! every client gets every tip. Never: waits for the node, or for another client.
//!
//! A client that is set up may be silent for as long as it likes: it has nothing to say while it has found no block. One that
//! has vanished is noticed by TCP (keepalive, and data that is not acknowledged), one that does not read by the deadline for
//! writing. In both cases what is kept for it is one queue: of the templates that it missed it gets the newest only.

use std::sync::Arc;
use std::time::Duration;

use hh_bitcoin::Reservation;
use hh_daemon::Chain;
use hh_sv2::message::{CoinbaseOutputConstraints, Protocol, RequestTransactionDataError, Str0255};
use hh_sv2::setup::{SetupError, printable, server_setup};
use hh_sv2::{Authority, Connection, ConnectionError, Encoded, Limits, Message};
use metrics::histogram;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::clients::Place;
use crate::served::{ServedTemplate, TipKey, transaction_data};
use crate::solution::Solutions;
use crate::templates::{Board, ClassLease, Templates};

/// From the accept to the client's constraints, which it must send at once (SV2 specification 7): five round trips in all.
const SETUP_DEADLINE: Duration = Duration::from_secs(10);
/// Requests for transactions that are answered at a time: each may be a block.
const REQUESTS_MAX: usize = 8;
/// The node sends a template's transactions right behind it.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(10);

/// What all sessions share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) authority: Arc<Authority>,
    pub(crate) templates: Templates,
    pub(crate) solutions: Solutions,
    pub(crate) stop: CancellationToken,
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("not set up within {} s of its connect", SETUP_DEADLINE.as_secs())]
    NotSetUp,
    #[error("{message} before CoinbaseOutputConstraints")]
    TooEarly { message: &'static str },
    #[error("more than {REQUESTS_MAX} requests for transactions at a time")]
    TooManyRequests,
    #[error(transparent)]
    Reservation(#[from] hh_bitcoin::template::ReservationTooLarge),
    #[error(transparent)]
    Classes(#[from] crate::templates::TooManyClasses),
}

/// The answer to a request for transactions.
enum TransactionAnswer {
    Data(Encoded),
    Error {
        template_id: u64,
        code: &'static str,
    },
}

/// A connected client.
struct Session {
    connection: Connection,
    shared: Shared,
    board: watch::Receiver<Arc<Board>>,
    place: Place,
    class: Option<Class>,
    sent: Option<Sent>,
    answers: JoinSet<TransactionAnswer>,
}

/// What the client's constraints came to.
struct Class {
    reservation: Reservation,
    _lease: ClassLease,
}

/// What the client has.
#[derive(Clone, Copy)]
struct Sent {
    template_id: u64,
    tip: TipKey,
}

/// Serves a client until it leaves, misbehaves, or the daemon stops.
pub(crate) async fn serve(stream: TcpStream, place: Place, shared: Shared) {
    let peer = stream
        .peer_addr()
        .map_or_else(|_gone| "gone".to_owned(), |peer| peer.to_string());
    let stop = shared.stop.clone();
    let due = Instant::now() + SETUP_DEADLINE;
    let opening = tokio::time::timeout_at(due, open(stream, place, shared));
    let Some(opened) = stop.run_until_cancelled(opening).await else {
        return;
    };
    let ended = match opened.unwrap_or(Err(SessionError::NotSetUp)) {
        Ok(session) => session.run(due).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => info!(peer, "client disconnected"),
        Err(SessionError::Connection(ConnectionError::Closed { .. })) => {
            info!(peer, "client disconnected");
        }
        Err(error) => warn!(peer, error = %Chain(&error), "client dropped"),
    }
}

async fn open(stream: TcpStream, place: Place, shared: Shared) -> Result<Session, SessionError> {
    let mut connection = Connection::accept(stream, &shared.authority, &Limits::SERVER).await?;
    let protocol = Protocol::TemplateDistributionProtocol;
    // Template Distribution has no flags.
    let setup = match server_setup(&mut connection, protocol, 0, SETUP_DEADLINE).await {
        Ok(setup) => setup,
        Err(error @ SetupError::Refused { .. }) => {
            // So that the client can read why.
            connection.close().await?;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    info!(
        peer = %connection.peer(),
        vendor = printable(setup.vendor.as_bytes()),
        firmware = printable(setup.firmware.as_bytes()),
        "client connected"
    );
    place.set_up();
    Ok(Session {
        place,
        board: shared.templates.board.clone(),
        connection,
        shared,
        class: None,
        sent: None,
        answers: JoinSet::new(),
    })
}

impl Session {
    /// `constraints_due`: when the client must have sent them.
    async fn run(mut self, constraints_due: Instant) -> Result<(), SessionError> {
        let stop = self.shared.stop.clone();
        let constraints_due = tokio::time::sleep_until(constraints_due);
        tokio::pin!(constraints_due);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(self.connection.close().await?),
                () = &mut constraints_due, if self.class.is_none() => {
                    return Err(SessionError::NotSetUp);
                }
                changed = self.board.changed() => match changed {
                    Ok(()) => {
                        if let Some(served) = self.send_newest()? {
                            // Not where the client had to come first: it took its time.
                            let trigger = served.origin.trigger;
                            histogram!("hyperhash_template_delivery_seconds", "trigger" => trigger)
                                .record(served.node.announced_at.elapsed());
                        }
                    }
                    // The task that publishes has ended: so will the daemon.
                    Err(_closed) => return Ok(()),
                },
                message = self.connection.recv() => {
                    self.on_message(message?).await?;
                    while let Some(message) = self.connection.try_recv()? {
                        self.on_message(message).await?;
                    }
                }
                Some(answer) = self.answers.join_next() => {
                    if let Ok(answer) = answer {
                        self.on_answer(answer)?;
                    }
                }
            }
            self.connection.flush().await?;
        }
    }

    /// Queues the newest template of the client's class, if the client has not got it.
    fn send_newest(&mut self) -> Result<Option<Arc<ServedTemplate>>, SessionError> {
        let Some(class) = &self.class else {
            return Ok(None);
        };
        let served = self
            .board
            .borrow_and_update()
            .current
            .get(&class.reservation)
            .cloned();
        let Some(served) = served else {
            return Ok(None);
        };
        match self.sent {
            Some(sent) if sent.template_id == served.id() => return Ok(None),
            Some(sent) if sent.tip == served.tip() => {
                self.connection.queue_encoded(&served.immediate)?;
            }
            Some(_) | None => {
                self.connection.queue_encoded(&served.future)?;
                self.connection.queue_encoded(&served.set_new_prev_hash)?;
            }
        }
        self.sent = Some(Sent {
            template_id: served.id(),
            tip: served.tip(),
        });
        Ok(Some(served))
    }

    async fn on_message(&mut self, message: Message) -> Result<(), SessionError> {
        match message {
            Message::CoinbaseOutputConstraints(constraints) => {
                self.on_constraints(constraints).await
            }
            message if self.class.is_none() => Err(SessionError::TooEarly {
                message: message.name(),
            }),
            Message::RequestTransactionData(request) => self.on_request(request.template_id),
            Message::SubmitSolution(solution) => {
                let template = self
                    .board
                    .borrow()
                    .known
                    .get(&solution.template_id)
                    .cloned();
                let peer = self.connection.peer();
                self.shared.solutions.submit(peer, template, solution);
                Ok(())
            }
            // Unknown messages are to be discarded (specification 3.4); others of other protocols harm nobody.
            other => {
                debug!(peer = %self.connection.peer(), message = other.name(), "message ignored");
                Ok(())
            }
        }
    }

    async fn on_constraints(
        &mut self,
        constraints: CoinbaseOutputConstraints,
    ) -> Result<(), SessionError> {
        let size = constraints.coinbase_output_max_additional_size;
        let sigops = constraints.coinbase_output_max_additional_sigops;
        let reservation = Reservation::for_coinbase_outputs(size, sigops)?;
        self.place.set_constraints(size, sigops);
        let has = self.sent.map_or(0, |sent| sent.template_id);
        let Some(joined) = self.shared.templates.join(reservation, has).await else {
            return Ok(());
        };
        self.class = Some(Class {
            reservation,
            _lease: joined?,
        });
        info!(
            peer = %self.connection.peer(), coinbase_output_max_additional_size = size,
            coinbase_output_max_additional_sigops = sigops,
            reserved_weight = reservation.weight(), "client constraints"
        );
        self.send_newest()?;
        Ok(())
    }

    fn on_request(&mut self, template_id: u64) -> Result<(), SessionError> {
        if self.answers.len() >= REQUESTS_MAX {
            return Err(SessionError::TooManyRequests);
        }
        let found = {
            let board = self.board.borrow();
            match board.known.get(&template_id) {
                None => Err("template-id-not-found"),
                Some(served) if board.is_stale(served) => Err("stale-template-id"),
                Some(served) => Ok(Arc::clone(served)),
            }
        };
        match found {
            Ok(served) => {
                self.answers.spawn(answer_with_transactions(served));
                Ok(())
            }
            Err(code) => self.on_answer(TransactionAnswer::Error { template_id, code }),
        }
    }

    fn on_answer(&mut self, answer: TransactionAnswer) -> Result<(), SessionError> {
        match answer {
            TransactionAnswer::Data(encoded) => self.connection.queue_encoded(&encoded)?,
            TransactionAnswer::Error { template_id, code } => {
                let error_code =
                    Str0255::try_from(code).expect("our codes are shorter than 255 bytes");
                self.connection.queue(RequestTransactionDataError {
                    template_id,
                    error_code,
                })?;
            }
        }
        Ok(())
    }
}

/// Waits for the transactions, and encodes them off the tasks that have to be quick.
async fn answer_with_transactions(served: Arc<ServedTemplate>) -> TransactionAnswer {
    // The transactions will never come: the node is gone. The specification has no better code.
    let missing = TransactionAnswer::Error {
        template_id: served.id(),
        code: "template-id-not-found",
    };
    let mut slot = served.node.block.clone();
    let Ok(Some(block)) = tokio::time::timeout(TRANSACTIONS_DEADLINE, slot.arrived()).await else {
        return missing;
    };
    let encoded = tokio::task::spawn_blocking(move || transaction_data(&served, &block)).await;
    match encoded {
        Ok(Ok(encoded)) => TransactionAnswer::Data(encoded),
        Ok(Err(error)) => {
            warn!(error = %Chain(&error), "transactions cannot be sent");
            missing
        }
        Err(_stopping) => missing,
    }
}
