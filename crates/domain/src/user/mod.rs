//! The user of an SE: registration, login, the token, log-off (P-5.5).

mod binding;
mod registration_data;
mod token;

pub use binding::{
    Blocked, Login, LoginQuestion, Lost, NumberState, OtherNumber, SeBinding, UnbindRefusal, decide_login,
    may_unbind,
};
pub use registration_data::{
    RegistrationData, RegistrationDataError, TokenCoding, decode_msisdn, encode_msisdn,
};
pub use token::{Matched, SealedToken, TokenCheck, TokenRecord, TokenValidity};
