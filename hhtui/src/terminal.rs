//! The terminal: taken at the start, given back as it was on every way out.
//!
//! Three ways lead out: the value is dropped (a key, a signal, an error), the panic hook runs first (a panic), or the
//! process is killed, which nobody can see coming. The cursor is never asked for: its answer would go to the key reader.

use ratatui::DefaultTerminal;
use std::io;

/// Raw mode and the alternate screen; dropping it restores the terminal.
#[derive(Debug)]
pub(crate) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal and sets a panic hook that gives it back before it prints.
    ///
    /// # Errors
    /// Standard output is no terminal.
    pub(crate) fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.0.draw(render).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to give back, and nobody to tell.
        ratatui::try_restore().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pty::Program;

    /// Not a test by itself: it is what the ones below run in a terminal of their own.
    #[test]
    #[ignore = "takes the terminal and panics; run by the other tests"]
    fn child_that_panics() {
        let mut screen = Screen::take().unwrap();
        screen
            .draw(|frame| frame.render_widget("taken", frame.area()))
            .unwrap();
        panic!("boom");
    }

    /// Likewise.
    #[test]
    #[ignore = "takes the terminal and fails; run by the other tests"]
    fn child_that_fails() {
        let fails = || -> io::Result<()> {
            let mut screen = Screen::take()?;
            screen.draw(|frame| frame.render_widget("taken", frame.area()))?;
            Err(io::Error::other("boom"))
        };
        fails().unwrap_err();
    }

    #[track_caller]
    fn check_child(name: &str) -> String {
        let test = format!("terminal::tests::{name}");
        let exe = std::env::current_exe().unwrap();
        let mut child = Program::start(
            &exe,
            &["--exact", &test, "--ignored", "--nocapture"],
            &[],
            exe.parent().unwrap(),
        );
        child.wait_for_exit();
        assert!(child.raw().contains("taken"), "{}", child.raw());
        child.assert_terminal_restored();
        child.raw()
    }

    #[test]
    fn a_panic_restores_the_terminal_before_it_is_printed() {
        let raw = check_child("child_that_panics");
        let left = raw.find("\x1b[?1049l").unwrap();
        assert!(raw[left..].contains("boom"), "{raw:?}");
    }

    #[test]
    fn an_error_restores_the_terminal() {
        check_child("child_that_fails");
    }
}
