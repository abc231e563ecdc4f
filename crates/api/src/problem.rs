//! The answer to a request that was refused or failed: one body for every role.
//!
//! Each code has its HTTP status, a sentence in both languages and the next step for the person who
//! sees it. The table below is the only place where these are written.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident, $status:literal, $en:literal, $zh:literal, $next:literal;)*) => {
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

            /// What the person can do next.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$variant => $next,)* Self::Unknown => "Update the program." }
            }
        }
    };
}

problems! {
    MalformedRequest, 400, "The request cannot be read.", "无法解析请求。", "Correct the request; repeating it will not help.";
    SessionRequired, 401, "This needs a login.", "需要先登录。", "Log in.";
    SessionExpired, 401, "The session has ended.", "会话已结束。", "Log in again.";
    WrongCredentials, 401, "The identification or password is wrong.", "身份信息或口令错误。", "Check them and try again.";
    PeerCertificateRequired, 401, "This needs the certificate of a registered institution.", "需要已注册机构的证书。", "Connect with the institution's certificate.";
    SignatureWrong, 401, "The message signature is missing or wrong.", "报文签名缺失或错误。", "Sign the message with the registered key.";
    SignatureStale, 401, "The signed message is too old or from the future.", "签名报文的时间超出允许范围。", "Correct the clock and sign again.";
    SignatureReplayed, 401, "The signed message was received before.", "该签名报文已被接收过。", "Sign a new message with a new serial.";
    TicketWrong, 403, "The ticket does not fit this request.", "凭据与请求不符。", "Fetch the list again for a new ticket.";
    TicketExpired, 403, "The ticket has expired.", "凭据已过期。", "Fetch the list again for a new ticket.";
    NotAllowed, 403, "This role may not do this.", "该角色无权执行此操作。", "Ask a colleague who has the right.";
    FourEyes, 403, "The person who entered this may not approve it.", "录入人不得审批自己的申请。", "Ask a second person to approve it.";
    PasswordChangeRequired, 403, "The first password must be changed before anything else.", "首次登录必须先修改口令。", "Change the password.";
    NotRegistered, 403, "The secure element is not registered.", "安全单元尚未注册。", "Register first.";
    BoundElsewhere, 403, "The secure element belongs to another number; only queries are possible.", "安全单元已绑定其他号码，仅可查询。", "Cancel the binding of the other number first.";
    OnLossList, 403, "The secure element is reported lost.", "安全单元已挂失。", "Go to a service hall.";
    AgreementRequired, 403, "The current utilisation protocol has not been accepted.", "尚未接受最新的用户使用协议。", "Read and accept the protocol.";
    HallOnly, 403, "This is possible at a service hall only.", "该操作仅可在营业厅办理。", "Go to a service hall.";
    ProviderNotApproved, 403, "The provider is not approved.", "应用提供方尚未通过审批。", "Wait for the approval.";
    ProviderBlacklisted, 403, "The provider is on the blacklist.", "应用提供方在黑名单中。", "Ask the operator.";
    ProviderRefused, 403, "The provider refused the operation.", "应用提供方拒绝了该操作。", "See the provider's reason.";
    UnknownId, 404, "There is nothing with this identification.", "找不到该标识对应的记录。", "Check the identification.";
    MethodNotAllowed, 405, "The method does not exist here.", "该地址不支持此方法。", "See the interface document.";
    StateForbids, 409, "The present state does not allow this.", "当前状态不允许该操作。", "Refresh and see what is possible.";
    Duplicate, 409, "This exists already.", "该记录已存在。", "Use the existing one.";
    StaleTurn, 409, "The turn was answered long ago.", "该轮次早已答复。", "Start again.";
    Busy, 409, "Another operation is running on this secure element.", "该安全单元正在执行其他操作。", "Wait for it, or cancel it.";
    LeaseLost, 409, "Another server took over this secure element.", "该安全单元已由其他服务器接管。", "Start again.";
    StillReferenced, 409, "Something still depends on this.", "仍有其他记录依赖它。", "Remove what depends on it first.";
    ApplicationsRemain, 409, "Applications remain in the security domain.", "安全域中仍有应用。", "Delete the applications first.";
    ValueRemains, 409, "The card still holds value.", "卡内仍有余额。", "Return the card before deleting it.";
    MustUnsubscribe, 409, "The application is still subscribed.", "该应用仍在订购中。", "Cancel the subscription at the provider first.";
    AlreadyInstalled, 409, "The application is installed already.", "应用已安装。", "Nothing to do.";
    NotInstalled, 409, "The application is not on this secure element.", "该安全单元上没有此应用。", "Synchronise and look again.";
    TooLarge, 413, "The request is too large.", "请求过大。", "Send less.";
    ValueRefused, 422, "A field holds a value that is not allowed.", "字段取值不合法。", "Correct the field.";
    CapRefused, 422, "The CAP file is refused.", "CAP 文件未通过检查。", "See the reason and convert the file again.";
    HashMismatch, 422, "The file does not have the hash that was given.", "文件与所给摘要不符。", "Upload the file again.";
    BatchUnknown, 422, "The secure element belongs to no known batch.", "安全单元不属于任何已知批次。", "Ask the operator to enter the batch.";
    NotForThisBatch, 422, "The application does not support this kind of secure element.", "应用不支持该批次的安全单元。", "Nothing can be done on this phone.";
    NotForThisUser, 422, "The application is not offered to this user.", "应用未向该用户开放。", "Ask the provider.";
    NotPublished, 422, "The application is not published.", "应用尚未发布。", "Wait for its publication.";
    NoSpace, 422, "The secure element has too little free space.", "安全单元剩余空间不足。", "Delete another application.";
    DependencyMissing, 422, "An extension that the application needs is missing.", "缺少应用所依赖的扩展。", "Ask the operator.";
    SubscriberSuspended, 422, "The subscriber's number is suspended.", "用户号码已停机。", "Settle the account with the carrier.";
    PaymentNotConfirmed, 422, "The payment is not confirmed.", "支付尚未确认。", "Pay, or wait for the confirmation.";
    OrderUsed, 409, "The order was used already.", "订单已使用。", "Make a new order.";
    AmountRefused, 422, "The amount is outside the allowed range.", "金额超出允许范围。", "Choose another amount.";
    SuspiciousCard, 422, "The card contradicts the records and is frozen.", "卡片与记录不一致，已冻结。", "Go to a service hall.";
    CardFailed, 422, "The card refused a command.", "卡片拒绝了命令。", "Try again; if it repeats, go to a service hall.";
    CardUnproven, 422, "The card's answer could not be verified.", "无法验证卡片的应答。", "Try again; nothing was changed.";
    CardUnreachable, 422, "The card did not answer.", "卡片无响应。", "Try again.";
    TooManyRequests, 429, "There are too many requests.", "请求过多。", "Wait a little and try again.";
    Internal, 500, "The server failed.", "服务器内部错误。", "Try again later.";
    PeerRefused, 502, "The other organisation's server refused.", "对方机构服务器拒绝了请求。", "See its reason.";
    Unavailable, 503, "The server cannot do this now.", "服务器暂时无法处理。", "Try again later.";
    OutcomeUnknown, 504, "It is not known whether this was done.", "无法确定操作是否完成。", "Connect again; the next contact settles it.";
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
    /// What the person can do next.
    pub next_step: String,
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
            request_id: None,
        }
    }

    /// A problem with a sentence about this case after the standard one.
    pub fn because(code: ProblemCode, reason: impl fmt::Display) -> Self {
        let mut problem = Self::new(code);
        problem.message_en = format!("{} {reason}", problem.message_en);
        problem
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
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn a_newer_servers_code_is_read_as_unknown() {
        let text = r#"{"code":"flux_capacitor","message_en":"x","message_zh":"x","next_step":"x"}"#;
        assert_eq!(serde_json::from_str::<Problem>(text).unwrap().code, ProblemCode::Unknown);
    }
}
