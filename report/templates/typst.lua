--[[ Writes for Typst what pandoc's own writer gets wrong or leaves out: formulas and figures with their
  alternative text (PDF/UA asks for it), tables with the rules of a printed paper, the reference list. ]]

local function typst(blocks)
  return (pandoc.write(pandoc.Pandoc(blocks), 'typst-citations-smart', {wrap_text = 'none'}):gsub('%s+$', ''))
end

local function quote(text)
  return '"' .. text:gsub('\\', '\\\\'):gsub('"', '\\"'):gsub('%s+', ' ') .. '"'
end

local function trim(text) return (text:gsub('^%s+', ''):gsub('%s+$', '')) end

-- Typst reads "...", "--" and a hyphen before a digit as other characters: give it such text as a string.
local function text(element)
  if element.text:find '%.%.%.' or element.text:find '%-[%-%?%d]' then
    return pandoc.RawInline('typst', '#' .. quote(element.text) .. ';')
  end
end

-- Formulas -------------------------------------------------------------------------------------------

-- Pandoc writes \operatorname{x} as the string "x", which Typst sets without the space of an operator.
local function operators(code, tex)
  for star, name in tex:gmatch '\\operatorname(%*?)%s*{([%a\\, ]+)}' do
    local limits = star == '*' and ', limits: #true' or ''
    name = name:gsub('\\[, ]', ' ')
    code = code:gsub('(%(?)"' .. name .. '"', function(before)
      if before == '' then return 'op("' .. name .. '"' .. limits .. ')' end
    end)
  end
  return code
end

local function formula(element, arguments)
  local tex = trim(element.text)
  local code = typst{pandoc.Plain{pandoc.Math(element.mathtype, tex)}}
  -- pandoc knows this symbol by a name that Typst has dropped.
  code = code:gsub('dot%.circle', 'dot.o')
  -- \bigl[ arrives as a scaled picture of a bracket: make it a delimiter of that size.
  code = code:gsub('#scale%(x: (%d+)%%, y: %d+%%%)%[(\\?.)%]', 'lr(size: #%1%%, %2)')
  return '#math.equation(' .. arguments .. 'alt: ' .. quote(tex) .. ', ' .. operators(code, tex) .. ')'
end

local function math(element)
  local arguments = element.mathtype == 'DisplayMath' and 'block: true, ' or ''
  return pandoc.RawInline('typst', formula(element, arguments))
end

local function numbered_equation(span)
  local number = pandoc.utils.stringify(span.content[2])
  local arguments = ('block: true, numbering: _ => "%s", '):format(number)
  return pandoc.RawInline('typst', formula(span.content[1], arguments) .. ' <' .. span.identifier .. '>')
end

local function span(element)
  if element.classes:includes 'equation' and element.content[2] then
    return numbered_equation(element), false
  elseif element.classes:includes 'section-number' then
    return pandoc.RawInline('typst', '#section-number[' .. pandoc.utils.stringify(element) .. ']')
  end
end

-- Figures --------------------------------------------------------------------------------------------

local function figure(element)
  local image = element.content[1].content[1]
  if element.classes:includes 'gap' then
    return pandoc.RawBlock('typst', ('#figure(kind: image, caption: [%s], [%s]) <%s>'):format(
      typst(element.caption.long), typst(element.content), element.identifier))
  end
  return pandoc.RawBlock('typst', ('#figure(kind: image, caption: [%s], image(%s, alt: %s)) <%s>'):format(
    typst(element.caption.long), quote('/' .. image.src), quote(pandoc.utils.stringify(image.caption)),
    element.identifier))
end

-- Tables ---------------------------------------------------------------------------------------------

local ALIGNMENT = {AlignLeft = 'left', AlignRight = 'right', AlignCenter = 'center', AlignDefault = 'left'}

-- The code of many pieces at once, because each call of the writer takes its time.
local MARK = '//cell'
local function typst_each(pieces)
  local blocks = pandoc.Blocks{}
  for _, piece in ipairs(pieces) do
    blocks:extend(piece)
    blocks:insert(pandoc.RawBlock('typst', MARK))
  end
  local result, start, code = {}, 1, typst(blocks) .. '\n'
  for i = 1, #pieces do
    local first, last = code:find('\n?' .. MARK .. '\n', start)
    result[i] = trim(code:sub(start, first - 1))
    start = last + 1
  end
  return result
end

local function cell_code(cell, column_alignment, contents)
  local alignment = cell.alignment == 'AlignDefault' and column_alignment or cell.alignment
  local arguments = {'align: ' .. ALIGNMENT[alignment] .. ' + horizon'}
  if cell.col_span > 1 then table.insert(arguments, 'colspan: ' .. cell.col_span) end
  if cell.row_span > 1 then table.insert(arguments, 'rowspan: ' .. cell.row_span) end
  return ('table.cell(%s)[%s],'):format(table.concat(arguments, ', '), contents)
end

-- The code of some rows. Under a header cell that spans columns goes a thin rule.
local function rows_code(rows, colspecs)
  local lines, covered = {}, {}  -- covered: how many rows below are taken by a cell above, by column
  local pieces = {}
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do table.insert(pieces, cell.contents) end
  end
  local contents, done = typst_each(pieces), 0
  for _, row in ipairs(rows) do
    local column, rules = 1, {}
    local function skip_covered()
      while (covered[column] or 0) > 0 do
        covered[column] = covered[column] - 1
        column = column + 1
      end
    end
    for _, cell in ipairs(row.cells) do
      skip_covered()
      done = done + 1
      table.insert(lines, cell_code(cell, colspecs[column][1], contents[done]))
      if cell.col_span > 1 then
        table.insert(rules, ('column-rule(%d, %d),'):format(column - 1, column - 1 + cell.col_span))
      end
      for _ = 1, cell.col_span do
        covered[column] = cell.row_span - 1
        column = column + 1
      end
    end
    skip_covered()
    table.move(rules, 1, #rules, #lines + 1, lines)
  end
  return table.concat(lines, '\n')
end

local function table_(element)
  local bodies = {}
  for _, body in ipairs(element.bodies) do
    table.insert(bodies, rows_code(body.head, element.colspecs))
    table.insert(bodies, rows_code(body.body, element.colspecs))
  end
  local call = element.classes:includes 'long' and 'long-table' or 'short-table'
  if element.classes:includes 'small' then call = 'small-table' end
  local widths = {}
  for width in element.attributes.widths:gmatch '%S+' do table.insert(widths, width .. 'fr') end
  while #widths < #element.colspecs do table.insert(widths, 'auto') end
  return pandoc.RawBlock('typst', ('#%s(<%s>, [%s], (%s,), header: (\n%s\n), rows: (\n%s\n))'):format(
    call, element.identifier, typst(element.caption.long), table.concat(widths, ', '),
    rows_code(element.head.rows, element.colspecs), table.concat(bodies, '\n')))
end

-- The document ---------------------------------------------------------------------------------------

local function reference_list(div)
  if div.identifier ~= 'refs' then return nil end
  return {pandoc.RawBlock('typst', '#reference-list['), div, pandoc.RawBlock('typst', ']')}
end

-- In an appendix figures and tables stay where they are written, so that none lands inside a long table
-- or above the heading. Each begins on a new page: Typst then lays them out in parallel.
local APPENDIX = '#pagebreak(weak: true)\n#set figure(placement: none)'
local function header(element)
  if element.level == 1 and element.classes:includes 'appendix' then
    return {pandoc.RawBlock('typst', APPENDIX), element}
  end
end

-- PDF metadata are strings, not text: quote them for the template.
local function strings(list, field)
  local quoted = {}
  for i, item in ipairs(list) do
    quoted[i] = quote(pandoc.utils.stringify(field and item[field] or item))
  end
  return pandoc.RawInline('typst', table.concat(quoted, ', ') .. ',')
end

function Pandoc(doc)
  doc.meta['author-strings'] = strings(doc.meta.authors, 'name')
  doc.meta['keyword-strings'] = strings(doc.meta.keywords)
  local inlines = {traverse = 'topdown', Span = span, Math = math, Str = text}
  inlines.Image = function(image) return image, false end  -- alternative text is a string already
  return doc:walk(inlines)
    :walk{Table = table_, Figure = figure, Div = reference_list, Header = header}
end
