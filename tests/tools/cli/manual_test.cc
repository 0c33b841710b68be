#include "tools/cli/manual.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squant::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ManualTest : public ::testing::Test {
 protected:
  ManualTest() {
    app_.add_flag("--quiet", quiet_, "Says nothing");
    app_.add_option("--secret", text_, "Not for users")->group("");
    CLI::App* show = app_.add_subcommand("show", "Shows what's there");
    show->add_option("-f,--format", text_, "How to [write]: text")
        ->check(CLI::IsMember({"table", "csv"}));
    show->add_option("--db", text_, "The file")->type_name("FILE")->required();
    show->add_option("WHAT", text_, "What to show");
    add_printers(app_, "thing-tool 1.2");
  }
  // What the program prints instead of running.
  std::string printed(const char* option) {
    try {
      app_.parse(std::vector<std::string>{option});
    } catch (const CLI::ParseError& error) {
      std::ostringstream out;
      EXPECT_EQ(app_.exit(error, out, out), 0);
      return out.str();
    }
    return "it ran";
  }
  CLI::App app_{"Does a thing. And more\n.second line \\ with a backslash", "thing-tool"};
  bool quiet_ = false;
  std::string text_;
};

TEST_F(ManualTest, DescribesWhatHelpShows) {
  const CommandText program = describe(app_);
  std::vector<std::string> names;
  for (const OptionText& option : program.options) names.push_back(option.names.back());
  EXPECT_THAT(names, ElementsAre("--help", "--quiet"));
  ASSERT_EQ(program.commands.size(), 1U);
  const CommandText& show = program.commands[0];
  EXPECT_THAT(show.options[1].names, ElementsAre("-f", "--format"));
  EXPECT_THAT(show.options[1].choices, ElementsAre("table", "csv"));
  EXPECT_EQ(show.options[1].value, "table|csv");
  EXPECT_TRUE(show.options[2].takes_file());
  EXPECT_TRUE(show.options[2].is_required);
  EXPECT_EQ(program.options[1].value, "");
  EXPECT_THAT(show.positionals[0].names, ElementsAre("WHAT"));
}

TEST_F(ManualTest, ManPageHidesAndEscapesNothingWrongly) {
  const std::string page = printed("--print-man");
  EXPECT_THAT(page, HasSubstr(".TH THING\\-TOOL 1 \"\" \"thing\\-tool 1.2\""));
  EXPECT_THAT(page, HasSubstr("thing\\-tool \\- Does a thing\n"));
  EXPECT_THAT(page, HasSubstr("\n\\&.second line \\e with a backslash\n"));
  EXPECT_THAT(page, HasSubstr(".SS show\n"));
  EXPECT_THAT(page, HasSubstr(".TP\n\\fB\\-f\\fR, \\fB\\-\\-format\\fR \\fItable|csv\\fR\n"));
  EXPECT_THAT(page, Not(HasSubstr("secret")));
}

TEST_F(ManualTest, CompletionKnowsCommandsOptionsAndChoices) {
  const std::string bash = printed("--print-bash-completion");
  EXPECT_THAT(bash, HasSubstr("\"show -f\" | \"show --format\")\n      mapfile -t COMPREPLY < "
                              "<(compgen -W 'table csv'"));
  EXPECT_THAT(bash, HasSubstr("complete -F _thing_tool thing-tool\n"));
  const std::string zsh = printed("--print-zsh-completion");
  EXPECT_THAT(zsh, HasSubstr("'*--format[How to \\[write\\]\\: text]:table|csv:(table csv)'"));
  EXPECT_THAT(zsh, HasSubstr("'show:Shows what'\\''s there'"));
  EXPECT_THAT(zsh, HasSubstr("'*--db[The file]:FILE:_files'"));
}

}  // namespace
}  // namespace squant::cli
