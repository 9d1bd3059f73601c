--[[ Numbers sections, figures, tables and equations, and resolves @sec:x, @fig:x, @tbl:x and @eq:x.
  Both documents take every number from here. An appendix heading has the class "appendix" and a letter;
  [-@fig:x] gives the number alone. Refuses undefined and duplicate labels. ]]
local here = pandoc.path.directory(PANDOC_SCRIPT_FILE)
local mistakes = dofile(pandoc.path.join{here, 'mistakes.lua'})

local NAMES = {fig = 'Figure', tbl = 'Table', eq = 'Equation', sec = 'Section'}
local labels = {}  -- identifier -> {name =, number =}

local function kind(identifier) return identifier:match '^(%a+):' end

local function define(identifier, name, number)
  if labels[identifier] then mistakes.add('the label ' .. identifier .. ' is defined twice') end
  labels[identifier] = {name = name, number = number}
end

-- Sections: 1, 1.1, ... and A, A.1, ... for appendices. ----------------------------------------------

local section = {0, 0, 0, 0, 0, 0}
local appendix = 0

local function section_number(header)
  if header.level == 1 and header.classes:includes 'appendix' then
    appendix = appendix + 1
  else
    section[header.level] = section[header.level] + 1
  end
  for level = header.level + 1, #section do section[level] = 0 end
  local top = appendix > 0 and string.char(64 + appendix) or tostring(section[1])
  return table.concat({top, table.unpack(section, 2, header.level)}, '.')
end

local function number_section(header)
  mistakes.enter(header)
  if header.classes:includes 'unnumbered' then return nil end
  if header.level == 1 and appendix > 0 and not header.classes:includes 'appendix' then
    mistakes.add('a numbered section after the first appendix: give it .appendix or .unnumbered')
  end
  local number = section_number(header)
  define(header.identifier, appendix > 0 and 'Appendix' or 'Section', number)
  header.content:insert(1, pandoc.Space())
  header.content:insert(1, pandoc.Span({pandoc.Str(number)}, {class = 'section-number'}))
  return header
end

-- Figures and tables: the number opens the caption. --------------------------------------------------

local count = {fig = 0, tbl = 0, eq = 0}

local function number_float(element)
  local prefix = kind(element.identifier)
  count[prefix] = count[prefix] + 1
  define(element.identifier, NAMES[prefix], tostring(count[prefix]))
  local opening = pandoc.Strong{pandoc.Str(NAMES[prefix] .. '\u{a0}' .. count[prefix] .. '.')}
  element.caption.long[1].content:insert(1, pandoc.Space())
  element.caption.long[1].content:insert(1, opening)
  return element
end

-- Equations: $$ ... $$ {#eq:name} --------------------------------------------------------------------

local function equation(math, identifier)
  for _, command in ipairs{'\\tag', '\\label', '\\eqref', '\\ref'} do  -- pandoc drops these silently
    if math.text:find(command .. '%s*{') then
      mistakes.add(command .. ' in a formula: write {#eq:name} after it and refer to @eq:name')
    end
  end
  local content = pandoc.Inlines{math}
  if identifier then
    count.eq = count.eq + 1
    define(identifier, NAMES.eq, '(' .. count.eq .. ')')
    content:insert(pandoc.Span({pandoc.Str('(' .. count.eq .. ')')}, {class = 'equation-number'}))
  end
  return pandoc.Span(content, pandoc.Attr(identifier or '', {'equation'}))
end

local function skip_space(inlines, i)
  while inlines[i] and (inlines[i].t == 'Space' or inlines[i].t == 'SoftBreak') do i = i + 1 end
  return i
end

local function is_display(inline) return inline.t == 'Math' and inline.mathtype == 'DisplayMath' end

local function number_equations(inlines)
  if not inlines:find_if(is_display) then return nil end
  local result, i = pandoc.Inlines{}, 1
  while i <= #inlines do
    local inline = inlines[i]
    if is_display(inline) then
      local j = skip_space(inlines, i + 1)
      local following = inlines[j] and inlines[j].t == 'Str' and inlines[j].text or ''
      local identifier, rest = following:match '^{#(eq:[%w:_-]+)}(.*)$'
      result:insert(equation(inline, identifier))
      if identifier then
        if rest ~= '' then result:insert(pandoc.Str(rest)) end
        i = j
      end
    else
      result:insert(inline)
    end
    i = i + 1
  end
  return result
end

-- References -----------------------------------------------------------------------------------------

local function known_labels()
  local known = {}
  for identifier in pairs(labels) do
    if NAMES[kind(identifier) or ''] then known[#known + 1] = identifier end
  end
  table.sort(known)
  return known
end

local function reference(citation)
  local label = labels[citation.id]
  if not label then
    mistakes.add('nothing has the label ' .. citation.id, citation.id, known_labels())
    return pandoc.Str '?'
  end
  if #citation.prefix + #citation.suffix > 0 then
    mistakes.add('words inside the brackets of a reference to ' .. citation.id .. ': write (see @x)')
  end
  local alone = citation.mode == 'SuppressAuthor'
  local text = alone and label.number or (label.name .. '\u{a0}' .. label.number)
  return pandoc.Link({pandoc.Str(text)}, '#' .. citation.id, '', {class = 'reference'})
end

local function resolve(cite)
  local references = cite.citations:filter(function(c) return NAMES[kind(c.id) or ''] end)
  if #references == 0 then return nil end
  if #references < #cite.citations then
    mistakes.add('a bracket that mixes citations and cross references: ' .. pandoc.utils.stringify(cite))
  end
  local result = pandoc.Inlines{}
  for i, citation in ipairs(references) do
    if i > 1 then result:insert(pandoc.Str(i == #references and '\u{a0}and ' or ', ')) end
    result:insert(reference(citation))
  end
  return result
end

function Pandoc(doc)
  doc = doc:walk{traverse = 'topdown', Header = number_section, Figure = number_float, Table = number_float}
  -- Bottom-up on purpose: a topdown walk would enter the span it made and wrap its formula for ever.
  doc = doc:walk{Inlines = number_equations}
  mistakes.section = nil
  doc = doc:walk{traverse = 'topdown', Header = mistakes.enter, Cite = resolve}
  mistakes.stop()
  return doc
end
