-- Puts each table of the web page into a box of its own, in which it scrolls sideways.
function Table(tbl)
  tbl.attributes.widths = nil  -- they are for the PDF, since a browser finds its own
  local name = pandoc.utils.stringify(tbl.caption.long):match '^[^.]*'
  local key = tbl.identifier:gsub(':', '-')
  -- The pairs are ordered, since a table with named keys is written in another order on each run.
  return pandoc.Div({tbl}, pandoc.Attr(key .. '-box', {'section', 'table-box'},
    {{'tabindex', '0'}, {'aria-label', name}}))
end

-- Makes the references a list of HTML, where pandoc would write divs with the role of one.
function Div(div)
  if div.identifier ~= 'refs' then return nil end
  return pandoc.BulletList(div.content:map(function(entry)
    entry.classes = {'entry'}
    return {entry}
  end))
end
