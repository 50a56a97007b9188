//! Keeps the embedded node running: with the cookie that Bitcoin Core has now, and not at all after a panic inside it.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, PoisonError, RwLock, Weak};
use std::time::Duration;

use hh_daemon::Tasks;
use tokio::time::MissedTickBehavior;

use super::calls::{Inner, LdkWallet};

/// A new cookie is found within this.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A node that does not start is tried again after this, and then more and more seldom.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// All threads of the embedded node have this name.
pub(super) const THREAD_NAME: &str = "ldk-node";

/// Looks after the wallet until the daemon stops, or nobody has the wallet any more.
pub(super) async fn keep(wallet: Weak<Inner>, tasks: Tasks) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = RETRY_FIRST;
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(inner) = wallet.upgrade() else {
            return;
        };
        let wallet = LdkWallet::from(inner);
        let Some(why) = wallet.trouble().await else {
            continue;
        };
        tracing::warn!(reason = %why, "starting the Lightning wallet again");
        match wallet.restart(&why).await {
            Ok(()) => {
                retry = RETRY_FIRST;
                tracing::info!("the Lightning wallet runs again");
            }
            Err(error) => {
                tracing::error!(
                    error = %hh_daemon::Chain(&error),
                    "the Lightning wallet does not start"
                );
                ticks.reset_after(retry);
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Set to true when the listener of the node that runs has ended.
static DEAF: RwLock<Option<Arc<AtomicBool>>> = RwLock::new(None);

/// From now on a panic in a thread of the embedded node ends the process. One panic is none of the node's life: its listener
/// ends by one when there are no more file descriptors, and the keeper starts the node again then.
pub(super) fn end_the_process_on_panic(is_deaf: Arc<AtomicBool>) {
    static ONCE: Once = Once::new();
    *DEAF.write().unwrap_or_else(PoisonError::into_inner) = Some(is_deaf);
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if std::thread::current().name() == Some(THREAD_NAME) {
                judge(panic);
            }
        }));
    });
}

fn judge(panic: &PanicHookInfo<'_>) {
    if is_of_listener(panic) {
        let deaf = DEAF.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(deaf) = deaf.as_ref() {
            deaf.store(true, Ordering::Relaxed);
        }
        return;
    }
    tracing::error!("a part of the Lightning wallet has ended; the process ends with it");
    std::process::abort();
}

/// `accept().await.unwrap()` in ldk-node's `Node::start`.
fn is_of_listener(panic: &PanicHookInfo<'_>) -> bool {
    let of_node = panic.location().is_some_and(|place| {
        place.file().contains("ldk-node-") && place.file().ends_with("src/lib.rs")
    });
    let text = panic.payload().downcast_ref::<String>();
    let of_system = text.is_some_and(|text| text.contains("Os { code:"));
    of_node && of_system
}
