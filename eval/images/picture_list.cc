#include "eval/images/picture_list.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string_view>
#include <unordered_map>

namespace squant::eval {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& where, const std::string& problem) {
  throw std::invalid_argument(where + ": " + problem);
}

// torchvision's list. What this program cannot decode shows up as a broken picture instead of being
// passed over.
bool is_picture_name(const fs::path& path) {
  constexpr std::array<std::string_view, 9> kExtensions{".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                                        ".pgm", ".tif",  ".tiff", ".webp"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

PictureFile examine(const fs::path& file, const fs::path& folder) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0)
    fail(file.string(), std::string("cannot be examined: ") + std::strerror(errno));
  return {.path = file.lexically_relative(folder).generic_string(),
          .size_bytes = facts.st_size,
          .modified_ns = std::int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec,
          .label = 0};
}

bool is_hidden(const fs::path& path) { return path.filename().string().front() == '.'; }

// Links to folders are followed for class folders, but not deeper: a link upwards would never end.
std::vector<PictureFile> find_pictures(const std::string& folder) {
  const fs::path root(folder);
  std::vector<PictureFile> files;
  const auto add = [&](const fs::directory_entry& entry) {
    if (is_picture_name(entry.path()) && !entry.is_directory())
      files.push_back(examine(entry.path(), root));
  };
  try {
    for (const fs::directory_entry& top : fs::directory_iterator(root)) {
      if (is_hidden(top.path())) continue;
      add(top);
      if (!top.is_directory()) continue;
      for (auto it = fs::recursive_directory_iterator(top.path());
           it != fs::recursive_directory_iterator(); ++it) {
        if (is_hidden(it->path())) {
          it.disable_recursion_pending();
        } else {
          add(*it);
        }
      }
    }
  } catch (const fs::filesystem_error& error) {
    fail(error.path1().empty() ? folder : error.path1().string(),
         "cannot be listed: " + error.code().message());
  }
  if (files.empty()) fail(folder, "holds no pictures");
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

// What identifies the picture in a file name: the path without extension, or the number ImageNet
// gave it.
std::string picture_id(const std::string& path) {
  constexpr std::string_view kValidation = "ILSVRC2012_val_";
  constexpr std::size_t kDigits = 8;
  const std::size_t name = path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1;
  if (path.compare(name, kValidation.size(), kValidation) == 0)
    return path.substr(name, kValidation.size() + kDigits);
  return path.substr(0, path.rfind('.'));
}

void check_no_picture_twice(const std::string& folder, const std::vector<PictureFile>& files) {
  std::unordered_map<std::string, const std::string*> seen;
  for (const PictureFile& file : files) {
    const auto [first, is_new] = seen.emplace(picture_id(file.path), &file.path);
    if (!is_new)
      fail(folder, *first->second + " and " + file.path + " both claim to be one picture");
  }
}

struct Line {
  std::string text;
  int number = 0;
};

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlank);
  return begin == std::string::npos ? ""
                                    : text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

std::vector<Line> read_lines(const std::string& path) {
  std::ifstream file(path);
  if (!file || fs::is_directory(path)) fail(path, "cannot be read");
  std::vector<Line> lines;
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    text = trimmed(text);
    if (!text.empty() && text.front() != '#') lines.push_back({text, number});
  }
  if (lines.empty()) fail(path, "holds no labels");
  return lines;
}

std::string first_word(const std::string& text) {
  return text.substr(0, text.find_first_of(" \t,"));
}

class Classes {
 public:
  explicit Classes(const std::vector<std::string>& names) {
    for (const std::string& name : names)
      index_.emplace(name, static_cast<std::int32_t>(index_.size()));
  }
  static Classes from_lines(const std::vector<Line>& lines, const std::string& where) {
    Classes classes({});
    for (const Line& line : lines) {
      const auto index = static_cast<std::int32_t>(classes.index_.size());
      if (!classes.index_.emplace(first_word(line.text), index).second) {
        fail(where + ":" + std::to_string(line.number),
             "class " + first_word(line.text) + " a second time");
      }
    }
    return classes;
  }

  std::int64_t size() const { return static_cast<std::int64_t>(index_.size()); }
  void describe(PictureList& list) const {
    list.num_classes = size();
    list.class_names.resize(index_.size());
    for (const auto& [name, index] : index_)
      list.class_names[static_cast<std::size_t>(index)] = name;
  }

  // -1 when there is none of this name.
  std::int32_t find(const std::string& name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? -1 : found->second;
  }

  // A name or a position; -1 for anything else.
  std::int32_t find_or_parse(const std::string& text) const {
    std::int32_t position = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), position);
    if (error != std::errc() || end != text.data() + text.size()) return find(text);
    return position < size() ? position : -1;
  }

 private:
  std::unordered_map<std::string, std::int32_t> index_;
};

void label_by_folder(const std::string& folder, const std::string& labels, PictureList& list) {
  const Classes classes = labels.empty() ? Classes(imagenet_synsets())
                                         : Classes::from_lines(read_lines(labels), labels);
  const std::string list_name = labels.empty() ? "ImageNet's 1000 WNIDs" : labels;
  classes.describe(list);
  std::map<std::string, std::string> unknown;  // folder -> a picture in it
  for (PictureFile& file : list.files) {
    const std::string name = file.path.substr(0, file.path.find('/'));
    file.label = classes.find(name);
    if (file.label < 0) unknown.emplace(name, file.path);
  }
  if (unknown.empty()) return;
  std::string names;
  constexpr std::size_t kMaxNamed = 5;
  std::size_t named = 0;
  for (const auto& [name, picture] : unknown) {
    if (named++ == kMaxNamed) break;
    names += (names.empty() ? "" : ", ") + name;
  }
  fail(folder, std::to_string(unknown.size()) + " folder(s) with pictures are no class of " +
                   list_name + ": " + names + (unknown.size() > kMaxNamed ? ", ..." : "") +
                   " (one folder for each class is expected right below)");
}

// Lines "file label".
void label_by_name(const std::string& labels, const std::vector<Line>& lines,
                   const Classes& classes, PictureList& list) {
  std::unordered_map<std::string, std::pair<std::int32_t, int>> label_of;  // file -> label, line
  for (const Line& line : lines) {
    const std::string where = labels + ":" + std::to_string(line.number);
    const std::size_t space = line.text.find_last_of(" \t");
    if (space == std::string::npos)
      fail(where, "expected \"file label\", got \"" + line.text + "\"");
    const std::string name = trimmed(line.text.substr(0, space));
    const std::string label = line.text.substr(space + 1);
    const std::int32_t index = classes.find_or_parse(label);
    if (index < 0) {
      fail(where, "\"" + label +
                      "\" is no label: expected a WNID of ImageNet or a number from 0 to " +
                      std::to_string(classes.size() - 1));
    }
    const auto [first, is_new] = label_of.emplace(name, std::pair(index, line.number));
    if (!is_new)
      fail(where, name + " has a label already, in line " + std::to_string(first->second.second));
  }
  for (PictureFile& file : list.files) {
    const auto found = label_of.find(file.path);
    if (found == label_of.end()) {
      fail(labels, "has no label for " + file.path + " (" + std::to_string(lines.size()) +
                       " lines for " + std::to_string(list.files.size()) + " pictures)");
    }
    file.label = found->second.first;
  }
}

// One WNID a line, in the order of the sorted files.
void label_by_order(const std::string& labels, const std::vector<Line>& lines,
                    const Classes& classes, PictureList& list) {
  if (lines.size() != list.files.size()) {
    fail(labels, "has " + std::to_string(lines.size()) + " lines for " +
                     std::to_string(list.files.size()) + " pictures");
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    list.files[i].label = classes.find(lines[i].text);
    if (list.files[i].label < 0) {
      // Numbers alone are refused: ImageNet's own list counts from 1 and in another order than
      // every network.
      fail(labels + ":" + std::to_string(lines[i].number),
           "expected a WNID, got \"" + lines[i].text + "\"");
    }
  }
}

}  // namespace

std::vector<std::string> find_picture_paths(const std::string& folder) {
  std::vector<std::string> paths;
  for (PictureFile& file : find_pictures(folder)) paths.push_back(std::move(file.path));
  return paths;
}

PictureList list_pictures(const std::string& folder, const std::string& labels) {
  PictureList list{.files = find_pictures(folder), .num_classes = 0, .class_names = {}};
  check_no_picture_twice(folder, list.files);
  if (!labels.empty()) {
    const std::vector<Line> lines = read_lines(labels);
    const std::string first =
        trimmed(lines.front().text.substr(0, lines.front().text.find_last_of(" \t")));
    const Classes classes(imagenet_synsets());
    classes.describe(list);
    if (is_picture_name(first)) {
      label_by_name(labels, lines, classes, list);
      return list;
    }
    const bool is_flat = std::all_of(
        list.files.begin(), list.files.end(),
        [](const PictureFile& file) { return file.path.find('/') == std::string::npos; });
    if (is_flat) {
      label_by_order(labels, lines, classes, list);
      return list;
    }
  }
  for (const PictureFile& file : list.files) {
    if (file.path.find('/') == std::string::npos) {
      fail(folder,
           file.path +
               " lies in no class folder: sort the pictures into one folder for each WNID, or give "
               "\"labels\": a file of lines \"file label\"");
    }
  }
  label_by_folder(folder, labels, list);
  return list;
}

}  // namespace squant::eval
