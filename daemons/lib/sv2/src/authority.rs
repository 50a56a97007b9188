//! A server's authority: the key that signs a certificate for each connection, and a stock of prepared responders.
//!
//! A responder holds a fresh static and a fresh ephemeral key; making one costs 135 us, as much as the rest of the
//! handshake, and can be done ahead. The certificate itself is signed during the handshake with the time of then, so a
//! responder does not age in the stock. Nothing here touches a socket.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stratum_core::noise_sv2::Responder;

use crate::{AuthorityPublicKey, AuthoritySecretKey};

/// How long before the handshake a certificate starts to be valid: clients' clocks may be behind by that much. SRI's
/// initiator itself allows only 10 s.
pub(crate) const CERTIFICATE_BACKDATED: Duration = Duration::from_secs(60 * 60);

/// How long a certificate is valid after its handshake. It is checked in the handshake and never again, so this only has
/// to cover clocks that are ahead.
pub const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(60 * 60);

/// Responders kept ready: a storm of 1,000 connections is served without making one. About 600 bytes each.
const STOCK: usize = 1_024;
/// Made at once, so that the thread is free again after about a millisecond.
const BATCH: usize = 8;
/// The stock is refilled when no connection has taken from it for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Boxed as `noise_sv2` makes them: moving keys out of a box leaves them in freed memory.
type Stock = Vec<Box<Responder>>;

/// Signs for a server, on as many connections as there are. Shared by reference.
pub struct Authority {
    public: AuthorityPublicKey,
    secret: AuthoritySecretKey,
    validity: Duration,
    stock: Mutex<Stock>,
    /// Counts responders handed out, so that the refiller notices a storm.
    taken: AtomicU64,
    refill: tokio::sync::Notify,
}

impl Authority {
    /// An authority whose certificates are valid from an hour before each handshake to `validity` after it
    /// ([`CERTIFICATE_VALIDITY`] unless there is a reason).
    pub fn new(secret: AuthoritySecretKey, validity: Duration) -> Self {
        Self {
            public: secret.public_key(),
            secret,
            validity,
            stock: Mutex::new(Vec::new()),
            taken: AtomicU64::new(0),
            refill: tokio::sync::Notify::new(),
        }
    }

    /// The key that clients check certificates with.
    pub fn public_key(&self) -> AuthorityPublicKey {
        self.public
    }

    /// Fills the stock of responders and keeps it full, working only while no connections come in. Never returns: the
    /// server spawns it beside its listener. Without it every handshake makes its own responder.
    pub async fn keep_stocked(&self) {
        loop {
            if self.stocked() >= STOCK {
                self.refill.notified().await;
            }
            let before = self.taken.load(Ordering::Relaxed);
            if before != 0 {
                tokio::time::sleep(QUIET).await;
            }
            while self.taken.load(Ordering::Relaxed) == before && self.stocked() < STOCK {
                let batch: Vec<_> = (0..BATCH).map(|_| self.make_responder()).collect();
                self.lock().extend(batch);
                tokio::task::yield_now().await;
            }
        }
    }

    /// A responder for one handshake, from the stock or made now.
    pub(crate) fn responder(&self) -> Box<Responder> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let stocked = self.lock().pop();
        self.refill.notify_one();
        stocked.unwrap_or_else(|| self.make_responder())
    }

    fn make_responder(&self) -> Box<Responder> {
        Responder::from_authority_kp(
            &self.public.to_bytes(),
            &self.secret.to_bytes(),
            self.validity + CERTIFICATE_BACKDATED,
        )
        .expect("the public key was computed from the secret key")
    }

    fn stocked(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stock> {
        // Pushing and popping leave the stock usable, whatever panicked.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("public", &self.public)
            .field("stocked", &self.stocked())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_stock_is_filled_taken_from_and_refilled_when_it_is_quiet() {
        let authority = Authority::new(AuthoritySecretKey::generate(), CERTIFICATE_VALIDITY);
        let filled = async {
            while authority.stocked() < STOCK {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = authority.keep_stocked() => unreachable!("it never returns"),
            () = async {
                filled.await;
                for _ in 0..20 {
                    drop(authority.responder());
                }
                assert_eq!(authority.stocked(), STOCK - 20);
                while authority.stocked() < STOCK {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        assert!(authority.stocked() < STOCK + BATCH);
    }
}
