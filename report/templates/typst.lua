--[[ Writes for Typst what pandoc's own writer gets wrong or leaves out: formulas and figures with their
  alternative text, which PDF/UA asks for, tables with the rules of a printed paper, and the references. ]]

local function trim(text) return (text:gsub('^%s+', ''):gsub('%s+$', '')) end

local function raw(text) return pandoc.RawBlock('typst', text) end

local function typst(blocks)
  return trim(pandoc.write(pandoc.Pandoc(blocks), 'typst-citations-smart', {wrap_text = 'none'}))
end

local function quote(text)
  return '"' .. text:gsub('\\', '\\\\'):gsub('"', '\\"'):gsub('%s+', ' ') .. '"'
end

-- Typst reads "...", "--" and a hyphen before a digit as other characters, so such text becomes a string.
local function text(element)
  if element.text:find '%.%.%.' or element.text:find '%-[%-%?%d]' then
    return pandoc.RawInline('typst', '#' .. quote(element.text) .. ';')
  end
end

local function formula(element, arguments)
  local tex = trim(element.text)
  local code = typst{pandoc.Plain{pandoc.Math(element.mathtype, tex)}}
  -- Pandoc knows this symbol by a name that Typst no longer has.
  code = code:gsub('dot%.circle', 'dot.o')
  -- Pandoc writes \bigl[ as a scaled picture of a bracket. Make it a delimiter of that size.
  code = code:gsub('#scale%(x: (%d+)%%, y: %d+%%%)%[(\\?.)%]', 'lr(size: #%1%%, %2)')
  return '#math.equation(' .. arguments .. 'alt: ' .. quote(tex) .. ', ' .. code .. ')'
end

local function math(element)
  local arguments = element.mathtype == 'DisplayMath' and 'block: true, ' or ''
  return pandoc.RawInline('typst', formula(element, arguments))
end

-- A verdict has a colour of its own, and does not look like a link.
local function link(element)
  if not element.classes:includes 'verdict' then return nil end
  local kind = quote(element.classes[2])
  element.content = pandoc.Inlines{pandoc.RawInline('typst', '#verdict(' .. kind .. ')[')} .. element.content
    .. pandoc.Inlines{pandoc.RawInline('typst', ']')}
  return element, false
end

local function span(element)
  local number = element.content[2] and pandoc.utils.stringify(element.content[2])
  if element.classes:includes 'equation' and number then
    local code = formula(element.content[1], ('block: true, numbering: _ => "%s", '):format(number))
    return pandoc.RawInline('typst', code .. ' <' .. element.identifier .. '>'), false
  elseif element.classes:includes 'section-number' then
    return pandoc.RawInline('typst', '#section-number[' .. pandoc.utils.stringify(element) .. ']')
  end
end

local function figure(element)
  local image = element.content[1].content[1]
  local body = element.classes:includes 'gap' and '[' .. typst(element.content) .. ']'
    or ('wide(image(%s, alt: %s))'):format(quote('/' .. image.src), quote(pandoc.utils.stringify(image.caption)))
  local caption = typst(element.caption.long)
  return raw(('#figure(kind: image, caption: [%s], %s) <%s>'):format(caption, body, element.identifier))
end

local ALIGNMENT = {AlignLeft = 'left', AlignRight = 'right', AlignCenter = 'center'}

-- The cells of some rows. A cell of the head that spans columns has a thin rule below it.
local function cells(rows, is_head)
  local result = pandoc.Blocks{}
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do
      local arguments = {}
      local side = ALIGNMENT[cell.alignment]
      if side then table.insert(arguments, 'align: ' .. side .. ' + horizon') end
      if cell.row_span > 1 then table.insert(arguments, 'rowspan: ' .. cell.row_span) end
      if cell.col_span > 1 then table.insert(arguments, 'colspan: ' .. cell.col_span) end
      if cell.col_span > 1 and is_head then table.insert(arguments, 'stroke: (bottom: 0.4pt)') end
      result:insert(raw('table.cell(' .. table.concat(arguments, ', ') .. ')['))
      result:extend(cell.contents)
      result:insert(raw '],')
    end
  end
  return result
end

-- The cells stay blocks of pandoc, since to write each by itself would take a second.
local function table_(element)
  local columns, sides, widths = {}, {}, element.attributes.widths:gmatch '%S+'
  for i, colspec in ipairs(element.colspecs) do
    local width = widths()
    columns[i] = width and width .. 'fr' or 'auto'
    sides[i] = (ALIGNMENT[colspec[1]] or 'left') .. ' + horizon'
  end
  local call = element.classes:includes 'long' and 'long-table' or 'short-table'
  local result = pandoc.Blocks{raw(('#%s(<%s>, [%s], (%s,), (%s,), ('):format(call, element.identifier,
    typst(element.caption.long), table.concat(columns, ', '), table.concat(sides, ', ')))}
  result:extend(cells(element.head.rows, true))
  result:insert(raw '), (')
  for _, body in ipairs(element.bodies) do result:extend(cells(body.body)) end
  result:insert(raw '))')
  return result
end

local function reference_list(div)
  if div.identifier ~= 'refs' then return nil end
  return {raw '#reference-list[', div, raw ']'}
end

-- In an appendix figures and tables stay where they are written, so that none lands inside a long table
-- or above the heading.
local function header(element)
  if element.level == 1 and element.classes:includes 'appendix' then
    return {raw '#set figure(placement: none)', element}
  end
end

-- The metadata of a PDF are strings, so the template gets them in quotes.
local function strings(list)
  local quoted = list:map(function(item) return quote(pandoc.utils.stringify(item.name or item)) .. ',' end)
  return pandoc.RawInline('typst', table.concat(quoted, ' '))
end

function Pandoc(doc)
  doc.meta['author-strings'] = strings(doc.meta.authors)
  doc.meta['keyword-strings'] = strings(doc.meta.keywords)
  local inlines = {traverse = 'topdown', Span = span, Math = math, Str = text, Link = link}
  inlines.Image = function(image) return image, false end  -- its alternative text is a string already
  return doc:walk(inlines):walk{Table = table_, Figure = figure, Div = reference_list, Header = header}
end
