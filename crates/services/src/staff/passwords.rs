//! Passwords of people at portals and desks: argon2id, in PHC form.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tsm_api::problem::{Problem, ProblemCode, both};

use crate::runtime::Environment;

/// The shortest password (NIST SP 800-63B, 3.1.1).
const SHORTEST: usize = 8;
/// The longest password that is hashed.
const LONGEST: usize = 128;

/// Hashes a password that its owner chose or a person assigned.
pub(crate) fn hash(password: &str, environment: &Environment) -> Result<String, Problem> {
    if !(SHORTEST..=LONGEST).contains(&password.chars().count()) {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("A password has 8 to 128 characters.", "口令长度为 8 至 128 个字符。"),
        ));
    }
    let salt: [u8; 16] = environment.random();
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| ProblemCode::Internal.into())
}

/// Whether a password is the hashed one. Takes the same time either way.
pub(crate) fn verify(password: &str, hash: &str) -> Result<(), Problem> {
    let wrong = || Problem::new(ProblemCode::WrongCredentials);
    if password.len() > 4 * LONGEST {
        return Err(wrong());
    }
    let hash = PasswordHash::new(hash).map_err(|_| Problem::new(ProblemCode::Internal))?;
    Argon2::default().verify_password(password.as_bytes(), &hash).map_err(|_| wrong())
}

/// A first password that nobody chose.
pub(crate) fn assign(environment: &Environment) -> String {
    hex::encode(environment.random::<10>())
}
