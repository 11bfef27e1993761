# cmake -DOUT=file.cc -DSYMBOL=name -DIN=text -P embed.cmake
# Writes a C++ source that defines SYMBOL, a std::string_view of the text of IN (ASCII, whose name is NAME). It stands in
# pieces, since a compiler need take no more than 65,536 characters in one literal; adjacent ones are one string.
file(READ ${IN} text)
set(source "// Made by cmake/embed.cmake out of ${NAME}.\n#include <string_view>\n\nnamespace vramwise::internal {\n\n")
string(APPEND source "extern const std::string_view ${SYMBOL};\nconst std::string_view ${SYMBOL} =")
string(LENGTH "${text}" length)
set(at 0)
while(at LESS length)
  string(SUBSTRING "${text}" ${at} 8000 piece)
  string(APPEND source "\n    R\"embedded(${piece})embedded\"")
  math(EXPR at "${at} + 8000")
endwhile()
string(APPEND source ";\n\n}  // namespace vramwise::internal\n")
file(WRITE ${OUT} "${source}")
