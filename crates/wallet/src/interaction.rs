//! What the user interaction module is told while an operation runs (W-5.a, W-5.b).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tsm_api::conversation::{Progress, Stage};

use crate::storage::Language;

/// Hears of progress; the program around shows it.
pub trait Interaction: Send {
    /// The operation has come this far. The per cent never fall within an operation.
    fn progress(&mut self, progress: Progress);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Interaction for Quiet {
    fn progress(&mut self, _: Progress) {}
}

/// Whether the wallet is before its rider's eyes. The program around turns it: an incoming call sends the wallet
/// to the background in the midst of an operation.
#[derive(Debug, Clone, Default)]
pub struct Visibility(Arc<AtomicBool>);

impl Visibility {
    /// Something else is on the screen from now on.
    pub fn to_background(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The wallet is on the screen again.
    pub fn to_foreground(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_background(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A screen that may be in the background (W-9.3.a). The operation knows nothing of it and goes on; what was to be
/// shown waits, the latest of it, until the wallet is on the screen again.
#[derive(Debug)]
pub struct Screen<I> {
    shown: I,
    visibility: Visibility,
    waiting: Option<Progress>,
}

impl<I: Interaction> Screen<I> {
    /// A screen that shows on `shown` while it is visible.
    pub const fn new(shown: I, visibility: Visibility) -> Self {
        Self { shown, visibility, waiting: None }
    }

    /// Shows what waited, if the wallet is on the screen. The program calls it when it comes back.
    pub fn catch_up(&mut self) {
        if !self.visibility.is_background()
            && let Some(progress) = self.waiting.take()
        {
            self.shown.progress(progress);
        }
    }

    /// What it shows on.
    pub const fn shown(&self) -> &I {
        &self.shown
    }
}

impl<I: Interaction> Interaction for Screen<I> {
    fn progress(&mut self, progress: Progress) {
        self.waiting = Some(progress);
        self.catch_up();
    }
}

/// The stage in words.
pub const fn stage_words(stage: Stage, language: Language) -> &'static str {
    let (english, chinese) = match stage {
        Stage::Observing => ("looking at the card", "正在读取卡片"),
        Stage::CreatingDomain => ("creating the security domain", "正在创建安全域"),
        Stage::ReplacingKeys => ("replacing the first keys", "正在更新初始密钥"),
        Stage::Loading => ("downloading", "正在下载"),
        Stage::Installing => ("installing", "正在安装"),
        Stage::Personalising => ("personalising", "正在个人化"),
        Stage::Writing => ("writing the registration", "正在写入注册信息"),
        Stage::Deleting => ("deleting", "正在删除"),
        Stage::Locking => ("changing the lock of the card", "正在更改卡片锁定状态"),
        Stage::ToppingUp => ("adding money", "正在充值"),
        Stage::Paying => ("paying", "正在支付"),
        Stage::Closing => ("finishing", "正在完成"),
    };
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}
