//! The answer to a request that was refused or failed: one body for every role.
//!
//! Each code has its HTTP status, a sentence in both languages and the next step for the person who
//! sees it. The table below is the only place where these are written.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident, $status:literal, $en:literal, $zh:literal, $next:literal, $next_zh:literal;)*) => {
        /// Why a request was not done.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$doc])* #[doc = $en] $variant,)*
            /// A code from a newer server that this program does not know.
            #[serde(other)]
            Unknown,
        }

        impl ProblemCode {
            /// Every code a server sends.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The HTTP status that carries it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* Self::Unknown => 500 }
            }

            /// The sentence in English.
            pub const fn message_en(self) -> &'static str {
                match self { $(Self::$variant => $en,)* Self::Unknown => "The server gave a reason that this program does not know." }
            }

            /// The sentence in Chinese.
            pub const fn message_zh(self) -> &'static str {
                match self { $(Self::$variant => $zh,)* Self::Unknown => "服务器返回了本程序不认识的原因。" }
            }

            /// What the person can do next, in English.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$variant => $next,)* Self::Unknown => "Update the program." }
            }

            /// What the person can do next, in Chinese.
            pub const fn next_step_zh(self) -> &'static str {
                match self { $(Self::$variant => $next_zh,)* Self::Unknown => "请更新程序。" }
            }
        }
    };
}

problems! {
    MalformedRequest, 400, "The request cannot be read.", "无法解析请求。", "Correct the request; repeating it will not help.", "请更正请求，重复发送无效。";
    SessionRequired, 401, "This needs a login.", "需要先登录。", "Log in.", "请登录。";
    SessionExpired, 401, "The session has ended.", "会话已结束。", "Log in again.", "请重新登录。";
    WrongCredentials, 401, "The identification or password is wrong.", "身份信息或口令错误。", "Check them and try again.", "请核对后重试。";
    PeerCertificateRequired, 401, "This needs the certificate of a registered institution.", "需要已注册机构的证书。", "Connect with the institution's certificate.", "请使用机构证书连接。";
    SignatureWrong, 401, "The message signature is missing or wrong.", "报文签名缺失或错误。", "Sign the message with the registered key.", "请用已注册的密钥签名。";
    SignatureStale, 401, "The signed message is too old or from the future.", "签名报文的时间超出允许范围。", "Correct the clock and sign again.", "请校准时钟后重新签名。";
    SignatureReplayed, 401, "The signed message was received before.", "该签名报文已被接收过。", "Sign a new message with a new serial.", "请用新的序列号重新签名。";
    TicketWrong, 403, "The ticket does not fit this request.", "凭据与请求不符。", "Fetch the list again for a new ticket.", "请重新获取列表以取得新凭据。";
    TicketExpired, 403, "The ticket has expired.", "凭据已过期。", "Fetch the list again for a new ticket.", "请重新获取列表以取得新凭据。";
    NotAllowed, 403, "This role may not do this.", "该角色无权执行此操作。", "Ask a colleague who has the right.", "请联系有权限的同事。";
    FourEyes, 403, "The person who entered this may not approve it.", "录入人不得审批自己的申请。", "Ask a second person to approve it.", "请由另一人审批。";
    PasswordChangeRequired, 403, "The first password must be changed before anything else.", "首次登录必须先修改口令。", "Change the password.", "请修改口令。";
    NotRegistered, 403, "The secure element is not registered.", "安全单元尚未注册。", "Register first.", "请先注册。";
    BoundElsewhere, 403, "The secure element belongs to another number; only queries are possible.", "安全单元已绑定其他号码，仅可查询。", "Cancel the binding of the other number first.", "请先解除与其他号码的绑定。";
    OnLossList, 403, "The secure element is reported lost.", "安全单元已挂失。", "Go to a service hall.", "请前往营业厅办理。";
    AgreementRequired, 403, "The current utilisation protocol has not been accepted.", "尚未接受最新的用户使用协议。", "Read and accept the protocol.", "请阅读并接受协议。";
    HallOnly, 403, "This is possible at a service hall only.", "该操作仅可在营业厅办理。", "Go to a service hall.", "请前往营业厅办理。";
    ProviderNotApproved, 403, "The provider is not approved.", "应用提供方尚未通过审批。", "Wait for the approval.", "请等待审批。";
    ProviderBlacklisted, 403, "The provider is on the blacklist.", "应用提供方在黑名单中。", "Ask the operator.", "请联系平台运营方。";
    ProviderRefused, 403, "The provider refused the operation.", "应用提供方拒绝了该操作。", "See the provider's reason.", "请查看应用提供方给出的原因。";
    UnknownId, 404, "There is nothing with this identification.", "找不到该标识对应的记录。", "Check the identification.", "请核对标识。";
    MethodNotAllowed, 405, "The method does not exist here.", "该地址不支持此方法。", "See the interface document.", "请查阅接口文档。";
    StateForbids, 409, "The present state does not allow this.", "当前状态不允许该操作。", "Refresh and see what is possible.", "请刷新后查看可执行的操作。";
    Duplicate, 409, "This exists already.", "该记录已存在。", "Use the existing one.", "请使用已有的记录。";
    StaleTurn, 409, "The turn was answered long ago.", "该轮次早已答复。", "Start again.", "请重新开始。";
    Busy, 409, "Another operation is running on this secure element.", "该安全单元正在执行其他操作。", "Wait for it, or cancel it.", "请等待其完成或将其取消。";
    LeaseLost, 409, "Another server took over this secure element.", "该安全单元已由其他服务器接管。", "Start again.", "请重新开始。";
    StillReferenced, 409, "Something still depends on this.", "仍有其他记录依赖它。", "Remove what depends on it first.", "请先移除依赖它的记录。";
    ApplicationsRemain, 409, "Applications remain in the security domain.", "安全域中仍有应用。", "Delete the applications first.", "请先删除其中的应用。";
    ValueRemains, 409, "The card still holds value.", "卡内仍有余额。", "Return the card before deleting it.", "请先退卡再删除。";
    MustUnsubscribe, 409, "The application is still subscribed.", "该应用仍在订购中。", "Cancel the subscription at the provider first.", "请先向应用提供方退订。";
    AlreadyInstalled, 409, "The application is installed already.", "应用已安装。", "Nothing to do.", "无需任何操作。";
    NotInstalled, 409, "The application is not on this secure element.", "该安全单元上没有此应用。", "Synchronise and look again.", "请同步后再查看。";
    TooLarge, 413, "The request is too large.", "请求过大。", "Send less.", "请减少发送内容。";
    ValueRefused, 422, "A field holds a value that is not allowed.", "字段取值不合法。", "Correct the field.", "请更正该字段。";
    CapRefused, 422, "The CAP file is refused.", "CAP 文件未通过检查。", "See the reason and convert the file again.", "请查看原因并重新转换文件。";
    HashMismatch, 422, "The file does not have the hash that was given.", "文件与所给摘要不符。", "Upload the file again.", "请重新上传文件。";
    BatchUnknown, 422, "The secure element belongs to no known batch.", "安全单元不属于任何已知批次。", "Ask the operator to enter the batch.", "请联系平台运营方录入该批次。";
    NotForThisBatch, 422, "The application does not support this kind of secure element.", "应用不支持该批次的安全单元。", "Nothing can be done on this phone.", "此手机无法办理。";
    NotForThisUser, 422, "The application is not offered to this user.", "应用未向该用户开放。", "Ask the provider.", "请联系应用提供方。";
    NotPublished, 422, "The application is not published.", "应用尚未发布。", "Wait for its publication.", "请等待应用发布。";
    NoSpace, 422, "The secure element has too little free space.", "安全单元剩余空间不足。", "Delete another application.", "请先删除其他应用。";
    DependencyMissing, 422, "An extension that the application needs is missing.", "缺少应用所依赖的扩展。", "Ask the operator.", "请联系平台运营方。";
    SubscriberSuspended, 422, "The subscriber's number is suspended.", "用户号码已停机。", "Settle the account with the carrier.", "请与运营商结清账户。";
    PaymentNotConfirmed, 422, "The payment is not confirmed.", "支付尚未确认。", "Pay, or wait for the confirmation.", "请支付或等待支付确认。";
    OrderUsed, 409, "The order was used already.", "订单已使用。", "Make a new order.", "请重新下单。";
    AmountRefused, 422, "The amount is outside the allowed range.", "金额超出允许范围。", "Choose another amount.", "请选择其他金额。";
    SuspiciousCard, 422, "The card contradicts the records and is frozen.", "卡片与记录不一致，已冻结。", "Go to a service hall.", "请前往营业厅办理。";
    BalanceTooLow, 422, "The card holds too little for this.", "卡内余额不足。", "Top the card up, or pay in another way.", "请先充值，或使用其他方式支付。";
    CardLocked, 422, "The card is locked or not in use.", "卡片已锁定或未启用。", "Unlock it in the wallet, or go to a service hall.", "请在钱包中解锁，或前往营业厅办理。";
    CardListed, 422, "The card is on the black list.", "卡片在黑名单中。", "Go to a service hall.", "请前往营业厅办理。";
    CardNotTaken, 422, "Cards of this issuer are not taken here.", "此处不受理该发卡机构的卡片。", "Pay in another way.", "请使用其他方式支付。";
    AnotherCard, 422, "This was begun with another card.", "该操作由另一张卡片发起。", "Go on with the card that it was begun with.", "请使用原卡片继续。";
    CardFailed, 422, "The card refused a command.", "卡片拒绝了命令。", "Try again; if it repeats, go to a service hall.", "请重试；如仍失败，请前往营业厅。";
    CardUnproven, 422, "The card's answer could not be verified.", "无法验证卡片的应答。", "Try again; nothing was changed.", "请重试，未作任何更改。";
    CardUnreachable, 422, "The card did not answer.", "卡片无响应。", "Try again.", "请重试。";
    TooManyRequests, 429, "There are too many requests.", "请求过多。", "Wait a little and try again.", "请稍等片刻再试。";
    Internal, 500, "The server failed.", "服务器内部错误。", "Try again later.", "请稍后再试。";
    PeerRefused, 502, "The other organisation's server refused.", "对方机构服务器拒绝了请求。", "See its reason.", "请查看其给出的原因。";
    Unavailable, 503, "The server cannot do this now.", "服务器暂时无法处理。", "Try again later.", "请稍后再试。";
    OutcomeUnknown, 504, "It is not known whether this was done.", "无法确定操作是否完成。", "Connect again; the next contact settles it.", "请重新连接，下次联系时将确认结果。";
}

/// The body of every refusal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message_en}")]
pub struct Problem {
    /// The reason.
    pub code: ProblemCode,
    /// The reason in English, with what is known about this case.
    pub message_en: String,
    /// The reason in Chinese.
    pub message_zh: String,
    /// What the person can do next, in English.
    pub next_step: String,
    /// What the person can do next, in Chinese.
    #[serde(default)]
    pub next_step_zh: String,
    /// The number of the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem with the standard sentence of its code.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            code,
            message_en: code.message_en().into(),
            message_zh: code.message_zh().into(),
            next_step: code.next_step().into(),
            next_step_zh: code.next_step_zh().into(),
            request_id: None,
        }
    }

    /// A problem with a sentence about this case after the standard one.
    pub fn because(code: ProblemCode, reason: impl Reason) -> Self {
        let mut problem = Self::new(code);
        problem.message_en = format!("{} {}", problem.message_en, reason.english());
        if let Some(reason) = reason.chinese() {
            problem.message_zh.push_str(reason);
        }
        problem
    }
}

/// What is known about a case, after the standard sentence of its code.
pub trait Reason {
    /// In English.
    fn english(&self) -> String;

    /// In Chinese; a technical detail has no Chinese of its own.
    fn chinese(&self) -> Option<&str>;
}

/// A sentence in both languages, for a rider, a clerk or an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Both {
    english: Cow<'static, str>,
    chinese: Cow<'static, str>,
}

/// A sentence in both languages.
pub fn both(english: impl Into<Cow<'static, str>>, chinese: impl Into<Cow<'static, str>>) -> Both {
    Both { english: english.into(), chinese: chinese.into() }
}

impl Reason for Both {
    fn english(&self) -> String {
        self.english.clone().into_owned()
    }

    fn chinese(&self) -> Option<&str> {
        Some(&self.chinese)
    }
}

// A technical detail: an error of a parser or of another organisation.
impl<T: fmt::Display> Reason for T {
    fn english(&self) -> String {
        self.to_string()
    }

    fn chinese(&self) -> Option<&str> {
        None
    }
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_both_sentences_and_an_error_status() {
        for code in ProblemCode::ALL {
            assert!(code.message_en().ends_with('.'), "{code:?}");
            assert!(code.message_zh().ends_with('。'), "{code:?}");
            assert!(code.next_step().ends_with('.'), "{code:?}");
            assert!(code.next_step_zh().ends_with('。'), "{code:?}");
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn a_reason_stands_after_the_sentence_in_both_languages() {
        let reason = both("The card is not parked.", "卡片未寄存。");
        let problem = Problem::because(ProblemCode::StateForbids, reason);
        assert_eq!(problem.message_en, "The present state does not allow this. The card is not parked.");
        assert_eq!(problem.message_zh, "当前状态不允许该操作。卡片未寄存。");
        let technical = Problem::because(ProblemCode::StateForbids, "byte 3");
        assert_eq!(technical.message_zh, ProblemCode::StateForbids.message_zh());
    }

    #[test]
    fn a_newer_servers_code_is_read_as_unknown() {
        let text = r#"{"code":"flux_capacitor","message_en":"x","message_zh":"x","next_step":"x"}"#;
        assert_eq!(serde_json::from_str::<Problem>(text).unwrap().code, ProblemCode::Unknown);
    }
}
