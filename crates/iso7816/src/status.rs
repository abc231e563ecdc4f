//! Status words and what they mean (ISO/IEC 7816-4, 5.6; GPC 2.3.1, 11.1.3; PBOC 2.0 part 2 for 93xx and 94xx).

use core::fmt;

/// SW1 SW2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusWord(pub u16);

macro_rules! status_words {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal, $english:literal, $chinese:literal;)*) => {
        impl StatusWord {
            $(#[doc = $english] pub const $name: Self = Self($value);)*

            fn known(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($value => Some(($english, $chinese)),)*
                    _ => None,
                }
            }
        }
    };
}

status_words! {
    SUCCESS = 0x9000, "done", "成功";
    SELECTED_FILE_INVALIDATED = 0x6283, "the selected application or file is blocked", "所选应用或文件已锁定";
    CARD_LOCKED_WARNING = 0x6284, "the file control information is not as expected", "文件控制信息格式不符";
    AUTHENTICATION_FAILED = 0x6300, "authentication of the host failed", "外部认证失败";
    MORE_DATA_AVAILABLE = 0x6310, "more data is available", "还有更多数据";
    EXECUTION_ERROR = 0x6400, "no precise diagnosis", "执行错误";
    MEMORY_FAILURE = 0x6581, "the memory failed", "存储器故障";
    WRONG_LENGTH = 0x6700, "wrong length", "长度错误";
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881, "the logical channel is not supported or not open", "逻辑通道不支持或未打开";
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882, "secure messaging is not supported", "不支持安全报文";
    LAST_COMMAND_EXPECTED = 0x6883, "the last command of the chain was expected", "应为链的最后一条命令";
    COMMAND_CHAINING_NOT_SUPPORTED = 0x6884, "command chaining is not supported", "不支持命令链";
    COMMAND_INCOMPATIBLE_WITH_FILE = 0x6981, "the command does not fit the file's structure", "命令与文件结构不符";
    SECURITY_STATUS_NOT_SATISFIED = 0x6982, "the security status is not satisfied", "安全状态不满足";
    AUTHENTICATION_METHOD_BLOCKED = 0x6983, "the authentication method is blocked", "认证方法已锁定";
    REFERENCED_DATA_INVALIDATED = 0x6984, "the referenced data is not usable", "引用数据无效";
    CONDITIONS_NOT_SATISFIED = 0x6985, "the conditions of use are not satisfied", "使用条件不满足";
    COMMAND_NOT_ALLOWED = 0x6986, "the command is not allowed without a current file", "命令不允许（无当前文件）";
    SECURE_MESSAGING_DATA_MISSING = 0x6987, "secure-messaging data are missing", "安全报文数据缺失";
    SECURE_MESSAGING_DATA_INCORRECT = 0x6988, "secure-messaging data are incorrect", "安全报文数据不正确";
    APPLET_SELECT_FAILED = 0x6999, "the application could not be selected", "应用选择失败";
    WRONG_DATA = 0x6A80, "incorrect values in the command data", "数据域参数不正确";
    FUNCTION_NOT_SUPPORTED = 0x6A81, "the function is not supported, or the card or application is locked", "功能不支持或卡/应用锁定";
    NOT_FOUND = 0x6A82, "the application or file was not found", "应用或文件未找到";
    RECORD_NOT_FOUND = 0x6A83, "the record was not found", "记录未找到";
    NOT_ENOUGH_MEMORY = 0x6A84, "not enough memory", "存储空间不足";
    INCORRECT_P1_P2 = 0x6A86, "incorrect P1 or P2", "P1或P2不正确";
    REFERENCED_DATA_NOT_FOUND = 0x6A88, "the referenced data was not found", "引用数据未找到";
    FILE_ALREADY_EXISTS = 0x6A89, "the file or application exists already", "文件或应用已存在";
    WRONG_P1_P2 = 0x6B00, "wrong P1 or P2", "P1或P2错误";
    INSTRUCTION_NOT_SUPPORTED = 0x6D00, "the instruction is not supported", "指令不支持";
    CLASS_NOT_SUPPORTED = 0x6E00, "the class is not supported", "类别不支持";
    UNKNOWN_ERROR = 0x6F00, "no precise diagnosis", "未知错误";
    INSUFFICIENT_BALANCE = 0x9301, "the balance is insufficient", "余额不足";
    MAC_INCORRECT = 0x9302, "the MAC is wrong", "MAC错误";
    APPLICATION_PERMANENTLY_LOCKED = 0x9303, "the application is locked for ever", "应用永久锁定";
    AMOUNT_INSUFFICIENT = 0x9401, "the balance does not cover the amount", "金额不足";
    COUNTER_AT_LIMIT = 0x9402, "the transaction counter is at its limit", "交易计数器达到上限";
    KEY_INDEX_NOT_SUPPORTED = 0x9403, "the key index is not supported", "密钥索引不支持";
    PROOF_NOT_AVAILABLE = 0x9406, "the proof asked for is not available", "所需交易证明不存在";
    ALGORITHM_NOT_SUPPORTED = 0x9484, "the algorithm is not supported", "算法不支持";
    INVALID_KEY_CHECK_VALUE = 0x9485, "the key check value is wrong", "密钥校验值错误";
}

impl StatusWord {
    /// 6Cxx: the exact number of bytes available (0 stands for 256).
    pub const fn wrong_le(available: u8) -> Self {
        Self(0x6C00 | available as u16)
    }

    /// 63Cx: verification failed, `tries` left (at most 15).
    pub const fn tries_left(tries: u8) -> Self {
        Self(0x63C0 | (tries & 0x0F) as u16)
    }

    /// SW1.
    pub const fn sw1(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// SW2.
    pub const fn sw2(self) -> u8 {
        self.0 as u8
    }

    /// Exactly 9000.
    pub const fn is_success(self) -> bool {
        self.0 == 0x9000
    }

    /// 62xx or 63xx: the command was carried out, with a remark.
    pub const fn is_warning(self) -> bool {
        matches!(self.sw1(), 0x62 | 0x63)
    }

    /// The number of tries left, from 63Cx.
    pub const fn remaining_tries(self) -> Option<u8> {
        if self.0 & 0xFFF0 == 0x63C0 { Some(self.0 as u8 & 0x0F) } else { None }
    }

    /// What the status word means, in English.
    pub fn meaning(self) -> &'static str {
        self.known().map_or_else(|| self.class_of_meaning().0, |(english, _)| english)
    }

    /// What the status word means, in Chinese.
    pub fn meaning_zh(self) -> &'static str {
        self.known().map_or_else(|| self.class_of_meaning().1, |(_, chinese)| chinese)
    }

    fn class_of_meaning(self) -> (&'static str, &'static str) {
        match self.sw1() {
            0x61 => ("response bytes are waiting", "响应数据待取"),
            0x62 => ("a warning; the memory is unchanged", "警告，存储器未改变"),
            0x63 if self.remaining_tries().is_some() => {
                ("verification failed; tries are left", "验证失败，尚有重试次数")
            }
            0x63 => ("a warning; the memory has changed", "警告，存储器已改变"),
            0x64 => ("an execution error; the memory is unchanged", "执行错误，存储器未改变"),
            0x65 => ("an execution error; the memory has changed", "执行错误，存储器已改变"),
            0x6C => ("wrong Le; the right one is in SW2", "Le错误，正确值见SW2"),
            _ => ("not defined by the standards in use", "未定义的状态字"),
        }
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusWord({self}: {})", self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_word_has_a_meaning_in_both_languages() {
        for value in 0..=u16::MAX {
            assert!(!StatusWord(value).meaning().is_empty());
            assert!(!StatusWord(value).meaning_zh().is_empty());
        }
    }

    #[test]
    fn counters_and_lengths_in_sw2() {
        assert_eq!(StatusWord::tries_left(3), StatusWord(0x63C3));
        assert_eq!(StatusWord(0x63C0).remaining_tries(), Some(0));
        assert_eq!(StatusWord(0x6300).remaining_tries(), None);
        assert_eq!(StatusWord::wrong_le(0x1E), StatusWord(0x6C1E));
        assert_eq!(StatusWord(0x6C1E).sw2(), 0x1E);
    }
}
