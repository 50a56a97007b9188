//! A program in a terminal of its own: keys in, a screen out, and whether the terminal was left as it was.

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Everything here takes milliseconds; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A running program; killed when this is dropped.
pub(crate) struct Program {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    raw: Vec<u8>,
    screen: vt100::Parser,
    modes: String,
}

impl Program {
    /// Starts `exe` in `dir` with UTF-8, colours, and `env` besides.
    pub(crate) fn start(exe: &Path, args: &[&str], env: &[(&str, &str)], dir: &Path) -> Self {
        let size = PtySize {
            rows: ROWS,
            cols: COLUMNS,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(exe);
        command.args(args);
        command.cwd(dir);
        for unset in [
            "NO_COLOR",
            "COLORFGBG",
            "LC_ALL",
            "LC_CTYPE",
            "HHCTL_CONTEXT",
        ] {
            command.env_remove(unset);
        }
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        for (name, value) in env {
            command.env(name, value);
        }
        let modes = format!("{:?}", pair.master.get_termios());
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(read) = reader.read(&mut buffer) {
                if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            keys: pair.master.take_writer().unwrap(),
            master: pair.master,
            output,
            raw: Vec::new(),
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            modes,
        }
    }

    /// All that was written, control sequences and all.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().unwrap()).unwrap()
    }

    pub(crate) fn resize(&mut self, rows: u16, cols: u16) {
        self.screen.screen_mut().set_size(rows, cols);
        let size = PtySize {
            rows,
            cols,
            pixel_width: 0,
            pixel_height: 0,
        };
        self.master.resize(size).unwrap();
    }

    /// Waits until the screen is as `is` wants it. Look for something at its foot, or half a frame may do.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, is: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if is(&text) {
                return;
            }
            assert!(self.more(end), "no {what}:\n{text}");
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        // The output ends when nobody has the terminal open any more.
        while self.more(end) {}
        assert!(Instant::now() < end, "still runs:\n{}", self.text());
        self.child.wait().unwrap()
    }

    /// Takes in what the program writes next; false when it has ended, or at `end`.
    fn more(&mut self, end: Instant) -> bool {
        let wait = end.saturating_duration_since(Instant::now());
        match self.output.recv_timeout(wait) {
            Ok(bytes) => {
                self.screen.process(&bytes);
                self.raw.extend(bytes);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    /// The alternate screen is left, the cursor is visible, and the modes of the line are as they were.
    #[track_caller]
    pub(crate) fn assert_terminal_restored(&self) {
        let screen = self.screen.screen();
        assert!(self.raw().contains("\x1b[?1049h"), "it was never taken");
        assert!(!screen.alternate_screen(), "{:?}", self.raw());
        assert!(!screen.hide_cursor(), "{:?}", self.raw());
        let modes = self.master.get_termios();
        assert_eq!(format!("{modes:?}"), self.modes);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
