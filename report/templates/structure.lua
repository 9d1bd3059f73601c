--[[ Turns what Markdown has no syntax for into real figures and tables:
    ::: {#fig:name}  caption, then  ::: alt  text  :::  :::        shows figures/name.svg
    ::: {#tbl:name}  caption, then an HTML or a Markdown table  :::
  Refuses a figure without alternative text, a table without a caption, other HTML and stray fences. ]]
local mistakes = dofile 'mistakes.lua'

local LONGEST = 40  -- rows of a table that stays on one page of the PDF

local function check_caption(caption, identifier)
  if not caption[1] or (caption[1].t ~= 'Para' and caption[1].t ~= 'Plain') then
    mistakes.add(identifier .. ' has no caption')
  end
end

local function figure(div)
  local function is_alt(block) return block.t == 'Div' and block.classes:includes 'alt' end
  local caption = div.content:filter(function(block) return not is_alt(block) end)
  local alt = pandoc.utils.blocks_to_inlines(div.content:filter(is_alt))
  check_caption(caption, div.identifier)
  if #alt == 0 then
    mistakes.add(div.identifier .. ' has no alternative text: add "::: alt", the text and ":::", '
      .. 'with a blank line before')
  end
  local gap = div.attributes.gap  -- why the study does not have the figure
  local content = gap and pandoc.Emph('Not shown: ' .. gap .. '.')
    or pandoc.Image(alt, 'figures/' .. div.identifier:sub(5) .. '.svg')
  return pandoc.Figure({pandoc.Plain{content}}, {long = caption}, {div.identifier, gap and {'gap'} or {}})
end

-- The text of a value is literal, even where the HTML reader saw a formula in it.
local function literal_value(span)
  if not span.classes:includes 'value' then return nil end
  return span:walk{Math = function(math) return pandoc.Str('$' .. math.text .. '$') end}
end

local function table_of(div)
  local caption, found = pandoc.Blocks{}, nil
  for _, block in ipairs(div.content) do
    if block.t == 'RawBlock' and block.text:match '^%s*<table' then
      block = pandoc.read(block.text, 'html+tex_math_dollars').blocks[1]:walk{Span = literal_value}
    end
    if block.t == 'Table' and not found then found = block else caption:insert(block) end
  end
  if not found then
    mistakes.add(div.identifier .. ' has no rows: write an HTML or a Markdown table in it')
    return {}
  end
  caption:extend(found.caption.long)
  check_caption(caption, div.identifier)
  if #found.bodies[1].body > LONGEST and not div.classes:includes 'long' then
    mistakes.add(div.identifier .. ' has too many rows for one page: mark it long')
  end
  found.caption.long = caption
  found.attr = pandoc.Attr(div.identifier, div.classes, {{'widths', div.attributes.widths or ''}})
  return found
end

local function raw(element)
  if element.format == 'html' and element.text:match '^%s*<!%-%-' then return {} end
  mistakes.add('HTML and other raw markup is only for tables in ::: {#tbl:name}, but found: '
    .. element.text:sub(1, 60))
end

-- Refuses syntax that pandoc found no use for and left in the text.
local function stray(inlines)
  local before = nil  -- the last inline that is not space
  for _, inline in ipairs(inlines) do
    local text = inline.t == 'Str' and inline.text or ''
    if text:match '^:::+$' then
      mistakes.add('a ":::" that opens or closes nothing: leave a blank line before and after each one')
    elseif text:find('[^', 1, true) then
      mistakes.add('a footnote mark without its text: ' .. text)
    elseif text:match '^{#' and not (before and before.mathtype == 'DisplayMath') then
      mistakes.add('a label that belongs to nothing: ' .. text)
    end
    if inline.t ~= 'Space' and inline.t ~= 'SoftBreak' then before = inline end
  end
end

local convert = {
  traverse = 'topdown',
  Header = mistakes.enter,
  Image = function(image) mistakes.add('an image outside ::: {#fig:name}: ' .. image.src) end,
  Div = function(div)
    if div.identifier:match '^fig:' then return figure(div), false end
    if div.identifier:match '^tbl:' then return table_of(div), false end
  end,
}

local check = {
  traverse = 'topdown',
  Header = mistakes.enter,
  Inlines = stray,
  Span = function(span)
    if span.classes:includes 'value' or span.classes:includes 'constant' then return span, false end
  end,
  RawBlock = raw,
  RawInline = raw,
  Table = function(element)
    if not element.identifier:match '^tbl:' then mistakes.add('a table outside ::: {#tbl:name}') end
  end,
}

function Pandoc(doc)
  doc = doc:walk(convert)
  mistakes.section = nil
  doc = doc:walk(check)
  mistakes.stop()
  return doc
end
