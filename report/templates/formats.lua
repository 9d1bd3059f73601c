-- Prepares the document for LaTeX and Word: pictures that they can show, columns that break their lines.
local ENDINGS = {latex = '.pdf', docx = '.png'}

function Meta(meta)
  meta.author = meta.authors:map(function(author)
    return author.affiliation and author.name .. ', ' .. author.affiliation or author.name
  end)
  return meta
end

function Image(image)
  image.src = image.src:gsub('%.svg$', ENDINGS[FORMAT])
  return image
end

function Table(element)
  local widths, sum = {}, 0
  for width in (element.attributes.widths or ''):gmatch '%S+' do
    table.insert(widths, tonumber(width))
    sum = sum + width
  end
  for i, width in ipairs(widths) do element.colspecs[i] = {element.colspecs[i][1], width / sum} end
  element.attributes.widths = nil
  return element
end

-- The number of an equation stands at the margin.
function Span(span)
  if FORMAT ~= 'latex' or not span.classes:includes 'equation' or not span.content[2] then return nil end
  local number = pandoc.utils.stringify(span.content[2]):match '%d+'
  return pandoc.RawInline('latex', ('\\begin{equation}\\tag{%s}\\label{%s}\n%s\n\\end{equation}'):format(
    number, span.identifier, span.content[1].text:gsub('^%s+', ''):gsub('%s+$', '')))
end
