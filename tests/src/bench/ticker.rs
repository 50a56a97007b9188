//! A periodic timer of some microseconds' precision. The runtime's own counts milliseconds, which a latency of half a
//! millisecond would drown in.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// See the module.
#[derive(Debug)]
pub struct Ticker(AsyncFd<OwnedFd>);

impl Ticker {
    /// Ticks at `first` and every `interval` after it.
    ///
    /// # Errors
    /// The kernel gives no timer.
    pub fn start(first: Instant, interval: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // A value of zero would switch it off.
        let wait = first
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: timespec(interval)?,
            it_value: timespec(wait)?,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        #[expect(
            deprecated,
            reason = "unsound only for a type that changes or closes its descriptor, which an OwnedFd does not"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Waits for the next tick; gives how many have passed since it was last asked. Cancel-safe.
    ///
    /// # Errors
    /// The timer can't be read.
    pub async fn ticks(&self) -> io::Result<u64> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut count)?));
            // An error here means that it was not ready after all.
            if let Ok(read) = read {
                read?;
                return Ok(u64::from_ne_bytes(count));
            }
        }
    }
}

fn timespec(duration: Duration) -> io::Result<Timespec> {
    Timespec::try_from(duration).map_err(io::Error::other)
}
