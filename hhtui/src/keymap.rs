//! The keys, once: what they do, the line at the foot and the help are all made from this table.

use crate::model::View;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Help,
    Close,
    Refresh,
    Pause,
    Theme,
    Show(View),
    Open,
    NextPane,
    Down,
    Up,
    First,
    Last,
    /// Close the connections of what is selected.
    Kick,
    /// Let no new miner in on the selected lane, or all again.
    PauseLane,
    /// Stop payouts, or let them go on.
    Freeze,
    RunPayouts,
    Hold,
    Release,
    CloseChannel,
}

/// Some keys with one meaning.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) action: Action,
    keys: &'static [(KeyModifiers, KeyCode)],
    /// The keys as they are written.
    pub(crate) keys_text: &'static str,
    pub(crate) help: &'static str,
    /// The word beside the keys in the line at the foot; none where there is no room.
    pub(crate) foot: Option<&'static str>,
    /// The screens on which it means something; none for all.
    views: &'static [View],
}

impl Binding {
    /// Whether it is one of this screen alone, or of a few.
    pub(crate) fn is_own(&self) -> bool {
        !self.views.is_empty()
    }

    pub(crate) fn means_something_on(&self, view: View) -> bool {
        self.views.is_empty() || self.views.contains(&view)
    }
}

const fn plain(code: KeyCode) -> (KeyModifiers, KeyCode) {
    (KeyModifiers::NONE, code)
}

const fn control(letter: char) -> (KeyModifiers, KeyCode) {
    (KeyModifiers::CONTROL, KeyCode::Char(letter))
}

pub(crate) const KEYMAP: [Binding; 25] = [
    Binding {
        action: Action::Help,
        keys: &[plain(KeyCode::Char('?')), plain(KeyCode::F(1))],
        keys_text: "?",
        help: "show or hide this help",
        foot: Some("help"),
        views: &[],
    },
    Binding {
        action: Action::Quit,
        keys: &[plain(KeyCode::Char('q')), control('c')],
        keys_text: "q Ctrl-C",
        help: "quit",
        foot: Some("quit"),
        views: &[],
    },
    Binding {
        action: Action::Show(View::Overview),
        keys: &[plain(KeyCode::Char('1'))],
        keys_text: "1",
        help: "overview: the pool at a glance",
        foot: Some("overview"),
        views: &[],
    },
    Binding {
        action: Action::Show(View::Lanes),
        keys: &[plain(KeyCode::Char('4'))],
        keys_text: "4",
        help: "lanes, and the translator's upstreams",
        foot: Some("lanes"),
        views: &[],
    },
    Binding {
        action: Action::Show(View::Miners),
        keys: &[plain(KeyCode::Char('5'))],
        keys_text: "5",
        help: "miners: accounts, workers, sessions",
        foot: Some("miners"),
        views: &[],
    },
    Binding {
        action: Action::Show(View::Blocks),
        keys: &[plain(KeyCode::Char('7'))],
        keys_text: "7",
        help: "blocks, and how far their rewards are",
        foot: Some("blocks"),
        views: &[],
    },
    Binding {
        action: Action::Show(View::Treasury),
        keys: &[plain(KeyCode::Char('8'))],
        keys_text: "8",
        help: "treasury: books, wallet, payouts",
        foot: Some("treasury"),
        views: &[],
    },
    Binding {
        action: Action::Show(View::Lightning),
        keys: &[plain(KeyCode::Char('9'))],
        keys_text: "9",
        help: "lightning: channels, payments",
        foot: Some("lightning"),
        views: &[],
    },
    Binding {
        action: Action::Open,
        keys: &[plain(KeyCode::Enter)],
        keys_text: "Enter",
        help: "open or close a row of the miners",
        foot: None,
        views: &[View::Miners],
    },
    Binding {
        action: Action::NextPane,
        keys: &[plain(KeyCode::Tab), plain(KeyCode::BackTab)],
        keys_text: "Tab",
        help: "give the keys to the other table",
        foot: Some("pane"),
        views: &[View::Overview],
    },
    Binding {
        action: Action::Down,
        keys: &[plain(KeyCode::Char('j')), plain(KeyCode::Down)],
        keys_text: "j Down",
        help: "next row",
        foot: None,
        views: &[],
    },
    Binding {
        action: Action::Up,
        keys: &[plain(KeyCode::Char('k')), plain(KeyCode::Up)],
        keys_text: "k Up",
        help: "row before",
        foot: None,
        views: &[],
    },
    Binding {
        action: Action::First,
        keys: &[plain(KeyCode::Char('g')), plain(KeyCode::Home)],
        keys_text: "g Home",
        help: "first row",
        foot: None,
        views: &[],
    },
    Binding {
        action: Action::Last,
        keys: &[plain(KeyCode::Char('G')), plain(KeyCode::End)],
        keys_text: "G End",
        help: "last row",
        foot: None,
        views: &[],
    },
    Binding {
        action: Action::Kick,
        keys: &[plain(KeyCode::Char('K'))],
        keys_text: "K",
        help: "miners: kick who is selected",
        foot: Some("kick"),
        views: &[View::Miners],
    },
    Binding {
        action: Action::PauseLane,
        keys: &[plain(KeyCode::Char('P'))],
        keys_text: "P",
        help: "lanes: pause or resume the selected one",
        foot: Some("pause lane"),
        views: &[View::Lanes],
    },
    Binding {
        action: Action::Freeze,
        keys: &[plain(KeyCode::Char('F'))],
        keys_text: "F",
        help: "treasury: freeze payouts at once, or unfreeze",
        foot: Some("freeze"),
        views: &[View::Treasury],
    },
    Binding {
        action: Action::RunPayouts,
        keys: &[plain(KeyCode::Char('P'))],
        keys_text: "P",
        help: "treasury: plan and run payouts",
        foot: Some("payouts"),
        views: &[View::Treasury],
    },
    Binding {
        action: Action::Hold,
        keys: &[plain(KeyCode::Char('h'))],
        keys_text: "h",
        help: "treasury: hold the payee of a payout",
        foot: Some("hold"),
        views: &[View::Treasury],
    },
    Binding {
        action: Action::Release,
        keys: &[plain(KeyCode::Char('u'))],
        keys_text: "u",
        help: "treasury: release him",
        foot: Some("release"),
        views: &[View::Treasury],
    },
    Binding {
        action: Action::CloseChannel,
        keys: &[plain(KeyCode::Char('c'))],
        keys_text: "c",
        help: "lightning: close the selected channel",
        foot: Some("close"),
        views: &[View::Lightning],
    },
    Binding {
        action: Action::Refresh,
        keys: &[plain(KeyCode::Char('r')), control('r')],
        keys_text: "r",
        help: "ask all daemons now, lost ones too",
        foot: Some("refresh"),
        views: &[],
    },
    Binding {
        action: Action::Pause,
        keys: &[plain(KeyCode::Char('p'))],
        keys_text: "p",
        help: "hold the screen still, or go on",
        foot: Some("pause"),
        views: &[],
    },
    Binding {
        action: Action::Theme,
        keys: &[plain(KeyCode::Char('t'))],
        keys_text: "t",
        help: "next theme: dark, light, mono",
        foot: None,
        views: &[],
    },
    Binding {
        action: Action::Close,
        keys: &[plain(KeyCode::Esc)],
        keys_text: "Esc",
        help: "close the help, or select no row",
        foot: None,
        views: &[],
    },
];

/// What `key` asks for on the screen `view`; none if it is bound to nothing there.
pub(crate) fn action(key: KeyEvent, view: View) -> Option<Action> {
    // A capital letter already tells that shift was held; terminals differ in saying it again.
    let pressed = (key.modifiers - KeyModifiers::SHIFT, key.code);
    KEYMAP
        .iter()
        .find(|binding| binding.keys.contains(&pressed) && binding.means_something_on(view))
        .map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice_on_a_screen() {
        for view in View::ALL {
            let here = KEYMAP
                .iter()
                .filter(|binding| binding.means_something_on(view));
            let keys: Vec<_> = here.flat_map(|binding| binding.keys).collect();
            for (index, key) in keys.iter().enumerate() {
                assert!(!keys[index + 1..].contains(key), "{view:?}: {key:?}");
            }
        }
    }

    #[test]
    fn a_key_of_another_screen_means_nothing() {
        let key = KeyEvent::new(KeyCode::Char('K'), KeyModifiers::NONE);
        assert_eq!(action(key, View::Miners), Some(Action::Kick));
        assert_eq!(action(key, View::Lanes), None);
    }

    #[test]
    fn shift_is_told_by_the_letter() {
        let with = |modifiers| action(KeyEvent::new(KeyCode::Char('G'), modifiers), View::Overview);
        assert_eq!(with(KeyModifiers::SHIFT), Some(Action::Last));
        assert_eq!(with(KeyModifiers::NONE), Some(Action::Last));
        assert_eq!(with(KeyModifiers::ALT), None);
    }

    #[test]
    fn ctrl_c_quits() {
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(key, View::Lanes), Some(Action::Quit));
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE);
        assert_eq!(action(key, View::Lanes), None);
        let close = action(key, View::Lightning);
        assert_eq!(close, Some(Action::CloseChannel));
    }
}
