--[[ Numbers sections, figures, tables and equations, and resolves @sec:x, @fig:x, @tbl:x and @eq:x.
  Both documents take every number from here. The heading of an appendix has the class "appendix" and
  gets a letter; [-@fig:x] prints the number alone. Refuses undefined and duplicate labels. ]]
local mistakes = dofile 'mistakes.lua'

local NAMES = {fig = 'Figure', tbl = 'Table', eq = 'Equation', sec = 'Section'}
local labels = {}  -- identifier -> {name =, number =}
local known = pandoc.List{}  -- their identifiers, in order

local function kind(identifier) return identifier:match '^(%a+):' end

local function define(identifier, name, number)
  if labels[identifier] then mistakes.add('the label ' .. identifier .. ' is defined twice') end
  labels[identifier] = {name = name, number = number}
  known:insert(identifier)
end

-- Sections: 1, 1.1, ... and A, A.1, ... for appendices.
local section = {0, 0, 0, 0, 0, 0}
local appendix = 0

local function number_section(header)
  mistakes.enter(header)
  if header.classes:includes 'unnumbered' then return nil end
  if header.level == 1 and header.classes:includes 'appendix' then
    appendix = appendix + 1
  elseif header.level == 1 and appendix > 0 then
    mistakes.add('a numbered section after the first appendix: give it .appendix or .unnumbered')
  else
    section[header.level] = section[header.level] + 1
  end
  for level = header.level + 1, #section do section[level] = 0 end
  local top = appendix > 0 and string.char(64 + appendix) or tostring(section[1])
  local number = table.concat({top, table.unpack(section, 2, header.level)}, '.')
  define(header.identifier, appendix > 0 and 'Appendix' or 'Section', number)
  local span = pandoc.Span({pandoc.Str(number)}, {class = 'section-number'})
  header.content = pandoc.Inlines{span, pandoc.Space()} .. header.content
  return header
end

local count = {fig = 0, tbl = 0, eq = 0}

-- The number of a figure or table opens its caption.
local function number_float(element)
  local prefix = kind(element.identifier)
  count[prefix] = count[prefix] + 1
  define(element.identifier, NAMES[prefix], tostring(count[prefix]))
  local opening = pandoc.Strong{pandoc.Str(NAMES[prefix] .. '\u{a0}' .. count[prefix] .. '.')}
  local caption = element.caption.long[1]
  caption.content = pandoc.Inlines{opening, pandoc.Space()} .. caption.content
  return element
end

-- Pandoc drops the first four without a word, and sets the last one without the space of an operator.
local LOST = {'\\tag', '\\label', '\\eqref', '\\ref', '\\operatorname'}

local function check_formula(math)
  for _, command in ipairs(LOST) do
    if math.text:find(command .. '%*?%s*{') then
      mistakes.add(command .. ' in a formula: write {#eq:name} after it, @eq:name for it, or \\mathrm')
    end
  end
end

-- An equation is $$ ... $$ {#eq:name}
local function equation(math, identifier)
  local content = pandoc.Inlines{math}
  if identifier then
    count.eq = count.eq + 1
    define(identifier, NAMES.eq, '(' .. count.eq .. ')')
    content:insert(pandoc.Span({pandoc.Str('(' .. count.eq .. ')')}, {class = 'equation-number'}))
  end
  return pandoc.Span(content, pandoc.Attr(identifier or '', {'equation'}))
end

local function number_equations(inlines)
  for i, inline in ipairs(inlines) do
    if inline.mathtype == 'DisplayMath' then
      local after = inlines[i + 1] and inlines[i + 1].t
      local label = (after == 'Space' or after == 'SoftBreak') and i + 2 or i + 1
      local text = inlines[label] and inlines[label].text or ''
      local identifier, rest = text:match '^{#(eq:[%w:_-]+)}(.*)$'
      if identifier then
        inlines[label] = pandoc.Str(rest)
        if label == i + 2 then inlines:remove(i + 1) end
      end
      inlines[i] = equation(inline, identifier)
    end
  end
  return inlines
end

local function reference(citation)
  local label = labels[citation.id]
  if not label then
    mistakes.add('nothing has the label ' .. citation.id, citation.id, known)
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
  -- This walk goes bottom-up, since a topdown one would enter the span that it made, for ever.
  doc = doc:walk{Math = check_formula, Inlines = number_equations}
  mistakes.section = nil
  doc = doc:walk{traverse = 'topdown', Header = mistakes.enter, Cite = resolve}
  mistakes.stop()
  return doc
end
