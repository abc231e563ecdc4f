//! Reading the reconciliation view to its end.

use super::{Client, ClientError};
use crate::clearing::settlement::{DIFFERENCES, DifferenceQuery, DifferenceRecord};

impl Client {
    /// The differences that nobody has settled, in order of day: at most `most` of them, page by page.
    pub async fn open_differences(&self, most: usize) -> Result<Vec<DifferenceRecord>, ClientError> {
        let mut found: Vec<DifferenceRecord> = Vec::new();
        for state in ["open", "proposed"] {
            let mut query = DifferenceQuery { state: Some(state.into()), ..DifferenceQuery::default() };
            let mut seen = 0;
            while seen < most {
                let page = self.call(&DIFFERENCES, &[], &query).await?.differences;
                let Some(last) = page.last() else { break };
                query.after = Some(last.difference);
                seen += page.len();
                found.extend(page);
            }
        }
        found.sort_by(|one, other| (&one.day, one.difference).cmp(&(&other.day, other.difference)));
        found.truncate(most);
        Ok(found)
    }
}
