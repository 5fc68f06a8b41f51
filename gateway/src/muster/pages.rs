//! `muster completions` and `muster man`: the command line as shells and readers of manuals want it, made of the same
//! definition that parses what is typed.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// Returns the script that completes the command line in a shell.
pub(super) fn completions(mut command: Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8(script).expect("names and help are text")
}

/// Returns the manual page of the program, or of the command under these names, in roff; `None` if there is no such command.
pub(super) fn man(mut command: Command, of: &[String]) -> io::Result<Option<String>> {
    // Options of all commands stand with each of them only from here on.
    command.build();
    let mut wanted = &command;
    for name in of {
        let Some(found) = wanted.find_subcommand(name) else { return Ok(None) };
        wanted = found;
    }
    let mut page = Vec::new();
    Man::new(wanted.clone()).manual("Muster").render(&mut page)?;
    Ok(Some(String::from_utf8(page).expect("names and help are text")))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let url = Arg::new("url").long("url").value_name("URL").global(true).help("The address");
        let robots = Command::new("robots").about("One line per robot").arg(Arg::new("sort").long("sort"));
        Command::new("muster").about("What is known").version("1").arg(url).subcommand(robots)
    }

    #[test]
    fn each_shell_completes_commands_and_options() {
        use clap::ValueEnum as _;
        for shell in Shell::value_variants() {
            let script = completions(command(), *shell);
            for word in ["muster", "robots", "sort", "url"] {
                assert!(script.contains(word), "{shell} {word}");
            }
        }
    }

    #[test]
    fn a_page_tells_of_the_program_or_of_one_command() {
        let whole = man(command(), &[]).unwrap().unwrap();
        assert!(whole.contains(".TH muster 1") && whole.contains("muster\\-robots(1)"), "{whole}");
        let robots = man(command(), &["robots".to_owned()]).unwrap().unwrap();
        assert!(robots.contains(".TH muster-robots 1"), "{robots}");
        assert!(robots.contains("\\-\\-sort") && robots.contains("\\-\\-url"), "{robots}");
        assert_eq!(man(command(), &["fly".to_owned()]).unwrap(), None);
    }
}
