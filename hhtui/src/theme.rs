//! Colours and symbols: sixteen ANSI names, no painted background, and never a meaning by colour alone.

use clap::ValueEnum;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::{bar, border};

/// Which colours to use; the terminal decides how they look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Theme {
    /// For light text on a dark background.
    Dark,
    /// For dark text on a light background: no yellow, no bright colours.
    Light,
    /// No colours: bold, dim and reversed only.
    Mono,
}

impl Theme {
    /// The theme that the environment asks for: `NO_COLOR`, `TERM=dumb`, then the background that `COLORFGBG` tells.
    pub(crate) fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        if var("NO_COLOR").is_some_and(|value| !value.is_empty())
            || var("TERM").is_some_and(|term| term == "dumb")
        {
            return Self::Mono;
        }
        let background = var("COLORFGBG").and_then(|value| value.rsplit(';').next()?.parse().ok());
        match background {
            Some(7 | 9..=15) => Self::Light,
            Some(0_u8..=u8::MAX) | None => Self::Dark,
        }
    }

    pub(crate) fn next(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Mono,
            Self::Mono => Self::Dark,
        }
    }

    pub(crate) fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let color = |dark, light, otherwise: Style| match self {
            Self::Dark => plain.fg(dark),
            Self::Light => plain.fg(light),
            Self::Mono => otherwise,
        };
        match role {
            Role::Title => bold,
            Role::Figure => {
                color(Color::LightCyan, Color::Blue, plain).add_modifier(Modifier::BOLD)
            }
            Role::Good => color(Color::Green, Color::Green, plain),
            Role::Warn => color(Color::Yellow, Color::Magenta, bold),
            Role::Bad => color(Color::LightRed, Color::Red, bold),
            Role::Production => {
                color(Color::LightRed, Color::Red, bold).add_modifier(Modifier::BOLD)
            }
            Role::Label | Role::Old => plain.add_modifier(Modifier::DIM),
            Role::Selected => plain.add_modifier(Modifier::REVERSED),
        }
    }
}

/// What a piece of text is, which decides how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Title,
    /// The one number of a panel.
    Figure,
    Good,
    Warn,
    Bad,
    /// The name of a context whose coins are worth something.
    Production,
    Label,
    /// Data that may be no longer true.
    Old,
    Selected,
}

/// How something is; shown as a symbol and a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    Warn,
    Bad,
    Unknown,
}

impl Health {
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Good => Role::Good,
            Self::Warn => Role::Warn,
            Self::Bad => Role::Bad,
            Self::Unknown => Role::Label,
        }
    }
}

/// The characters that are drawn beside text.
#[derive(Debug)]
pub(crate) struct Symbols {
    pub(crate) ascii: bool,
    good: &'static str,
    warn: &'static str,
    bad: &'static str,
    unknown: &'static str,
    /// A part of the sparkline that nothing is known of.
    pub(crate) gap: &'static str,
    pub(crate) ellipsis: &'static str,
    /// Before the title of the pane that takes the keys.
    pub(crate) focus: &'static str,
    /// Before a row of a tree that shows what is below it, and before one that does not.
    pub(crate) open: &'static str,
    pub(crate) closed: &'static str,
    /// The part of a channel that is the peer's.
    pub(crate) theirs: &'static str,
    /// Behind what is being typed.
    pub(crate) cursor: &'static str,
    pub(crate) bars: bar::Set<'static>,
    pub(crate) border: border::Set<'static>,
}

impl Symbols {
    pub(crate) fn of(&self, health: Health) -> &'static str {
        match health {
            Health::Good => self.good,
            Health::Warn => self.warn,
            Health::Bad => self.bad,
            Health::Unknown => self.unknown,
        }
    }
}

/// For terminals that show UTF-8.
pub(crate) const UNICODE: Symbols = Symbols {
    ascii: false,
    good: "●",
    warn: "▲",
    bad: "✖",
    unknown: "○",
    gap: "·",
    ellipsis: "…",
    focus: "▸",
    open: "▾",
    closed: "▸",
    theirs: "·",
    cursor: "▏",
    bars: bar::NINE_LEVELS,
    border: border::PLAIN,
};

/// For those that don't.
pub(crate) const ASCII: Symbols = Symbols {
    ascii: true,
    good: "*",
    warn: "!",
    bad: "x",
    unknown: "o",
    gap: "?",
    ellipsis: "~",
    focus: ">",
    open: "v",
    closed: ">",
    theirs: "-",
    cursor: "_",
    bars: bar::Set {
        full: "#",
        seven_eighths: "%",
        three_quarters: "*",
        five_eighths: "+",
        half: "=",
        three_eighths: "-",
        one_quarter: ":",
        one_eighth: ".",
        empty: " ",
    },
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
};

/// Whether the locale of the environment shows UTF-8.
pub(crate) fn locale_is_utf8(var: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(var)
        .find(|value| !value.is_empty())
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = vars.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        }
    }

    #[test]
    fn the_environment_chooses_the_theme() {
        assert_eq!(Theme::from_env(env(&[])), Theme::Dark);
        assert_eq!(Theme::from_env(env(&[("NO_COLOR", "1")])), Theme::Mono);
        assert_eq!(Theme::from_env(env(&[("NO_COLOR", "")])), Theme::Dark);
        assert_eq!(Theme::from_env(env(&[("TERM", "dumb")])), Theme::Mono);
        assert_eq!(Theme::from_env(env(&[("COLORFGBG", "0;15")])), Theme::Light);
        assert_eq!(
            Theme::from_env(env(&[("COLORFGBG", "15;default;0")])),
            Theme::Dark
        );
    }

    #[test]
    fn no_role_paints_a_background_and_mono_has_no_colour() {
        let roles = [
            Role::Title,
            Role::Figure,
            Role::Good,
            Role::Warn,
            Role::Bad,
            Role::Production,
            Role::Label,
            Role::Old,
            Role::Selected,
        ];
        for role in roles {
            for theme in [Theme::Dark, Theme::Light, Theme::Mono] {
                assert_eq!(theme.style(role).bg, None, "{role:?}");
            }
            assert_eq!(Theme::Mono.style(role).fg, None, "{role:?}");
        }
    }

    #[test]
    fn the_first_locale_variable_that_is_set_counts() {
        assert!(locale_is_utf8(env(&[("LANG", "en_GB.UTF-8")])));
        assert!(locale_is_utf8(env(&[("LC_ALL", ""), ("LANG", "C.utf8")])));
        assert!(!locale_is_utf8(env(&[
            ("LC_ALL", "C"),
            ("LANG", "en_GB.UTF-8")
        ])));
        assert!(!locale_is_utf8(env(&[])));
    }
}
