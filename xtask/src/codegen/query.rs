//! What only the services of the query protocol have: requests from forms, answers in XML.

use super::{
    emit::Emitter,
    model::Shape,
    names::{escaped, snake, type_name},
};
use crate::Failure;

impl Emitter<'_> {
    /// A structure, by the macro of what it is for. Whole answers are left to [`Self::answers`].
    pub(super) fn record(&mut self, name: &str, shape: &Shape) -> Result<(), Failure> {
        let (read, written) = (self.read.contains(name), self.written.contains(name));
        let operations = || self.service.operations.iter().map(|operation| &self.model.operations[*operation]);
        if operations().filter_map(|operation| operation.output.as_ref()).any(|output| output.shape == name) {
            return Ok(());
        }
        let is_request = operations().filter_map(|operation| operation.input.as_ref()).any(|input| input.shape == name);
        let form = match (read, written) {
            (true, false) if is_request => "request",
            (true, false) => "input",
            (false, _) => "output",
            (true, true) => "shared",
        };
        let members = self.members(shape, read)?;
        self.line(format_args!("{form}!(\n    {} {{{members}}}\n);", type_name(name)));
        Ok(())
    }

    /// One type for each operation's answer, also if shapes are shared or there is none; and lists of all for tests.
    pub(super) fn answers(&mut self) -> Result<(), Failure> {
        let (mut answers, mut requests) = (String::new(), String::new());
        for name in self.service.operations {
            let operation = &self.model.operations[*name];
            let (wrapper, members) = match &operation.output {
                Some(output) => (output.result_wrapper.clone(), self.members(self.model.shape(&output.shape)?, false)?),
                None => (None, String::new()),
            };
            let wrapper = wrapper.map(|wrapper| format!(" in {wrapper:?}")).unwrap_or_default();
            answers += &format!("        ({name:?}, sampled::<{name}Response>),\n");
            self.line(format_args!("answer!(\n    {name}Response of {name:?}{wrapper} {{{members}}}\n);"));
            if let Some(input) = &operation.input {
                requests += &format!("        ({name:?}, shown::<{}>),\n", type_name(&input.shape));
            }
        }
        self.line("#[cfg(test)]\npub(crate) mod all {\nuse super::*;");
        self.line("use crate::query::sample::{Sampled, Shown, sampled, shown};\n");
        self.line(format_args!("pub(crate) static REQUESTS: &[(&str, Shown)] = &[\n{requests}];\n"));
        self.line(format_args!("pub(crate) static ANSWERS: &[(&str, Sampled)] = &[\n{answers}];\n}}"));
        Ok(())
    }

    /// A line for each member: how it is read, its field, type, name and rule.
    fn members(&self, shape: &Shape, read: bool) -> Result<String, Failure> {
        let mut out = String::new();
        for (member, of) in &shape.members.0 {
            let required = shape.required.contains(member);
            let (how, of_type) = match (required, self.rust(&of.shape)?) {
                (true, of_type) => ("required", of_type),
                (false, of_type) => ("optional", format!("Option<{of_type}>")),
            };
            let field = escaped(&snake(member));
            out += &match read {
                true => format!("        {how} {field}: {of_type} = {member:?} {},\n", self.rule(&of.shape)?),
                false => format!("        {field}: {of_type} = {member:?},\n"),
            };
        }
        Ok(if out.is_empty() { out } else { format!("\n{out}    ") })
    }
}
