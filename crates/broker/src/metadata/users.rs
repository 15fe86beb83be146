//! Users in the metadata.

use galgo_wire::id::UserId;

use super::{ApplyError, Effect, State, User, missing};

impl State {
    /// The user of this name. Names are looked up as text, also when they are all digits.
    #[must_use]
    pub fn user_named(&self, name: &str) -> Option<(UserId, &User)> {
        let mut users = self.users.iter();
        users.find(|(_, user)| user.name.as_str() == name).map(|(id, user)| (*id, user))
    }

    pub(super) fn create_user(
        &mut self,
        id: UserId,
        user: &User,
    ) -> Result<Vec<Effect>, ApplyError> {
        if self.users.contains_key(&id) || self.user_named(user.name.as_str()).is_some() {
            return missing("user", id.get());
        }
        self.users.insert(id, user.clone());
        Ok(Vec::new())
    }
}
