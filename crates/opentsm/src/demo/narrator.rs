//! What a person sees of the demo: chapters, steps as they happen, progress of long work.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tsm_api::conversation::Progress;
use tsm_wallet::Interaction;
use tsm_wallet::interaction::stage_words;
use tsm_wallet::storage::Language;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A person at a terminal.
    Person,
    /// A program: nothing but the report.
    Program,
}

/// Tells the story.
pub struct Narrator {
    audience: Audience,
    chapters: u32,
    bar: Option<ProgressBar>,
}

impl Narrator {
    /// A narrator for this audience.
    pub const fn new(audience: Audience) -> Self {
        Self { audience, chapters: 0, bar: None }
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        if self.audience == Audience::Person {
            say!("\n {}  {title}", self.chapters);
        }
    }

    /// Something happened.
    pub fn happened(&mut self, what: &str) {
        self.finish_bar();
        if self.audience == Audience::Person {
            say!("    ✓ {what}");
        }
    }

    fn finish_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Interaction for Narrator {
    fn progress(&mut self, progress: Progress) {
        if self.audience == Audience::Program {
            return;
        }
        let bar = self.bar.get_or_insert_with(new_bar);
        bar.set_message(stage_words(progress.stage, Language::English));
        bar.set_position(u64::from(progress.percent));
    }
}

impl crate::city::Progress for Narrator {
    fn done(&mut self, step: &str) {
        self.happened(step);
    }
}

/// A bar that hides itself where the output is no terminal.
fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("      {bar:24.green} {pos:>3} %  {msg}");
    bar.set_style(style.expect("the template is right").progress_chars("━━─"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
